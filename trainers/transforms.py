"""What the transforms of a run do to its images, in plain values."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from torch import Tensor, nn
from yacs.config import CfgNode

NOT_RANDOM = ("center_crop", "instance_norm", "normalize")


def random_transforms(cfg: CfgNode) -> list[str]:
    """The names of INPUT.TRANSFORMS that change a training image from epoch to epoch."""
    return [name for name in cfg.INPUT.TRANSFORMS if name not in NOT_RANDOM]


def describe(part: Any) -> Any:
    """A transform with all its parameters: its class, and what it holds.

    Raises:
        ValueError: it holds something that does not say what it does, such as a function.
    """
    if part is None or isinstance(part, (bool, int, float, str)):
        return part
    if isinstance(part, Enum):
        return str(part)
    if isinstance(part, (list, tuple)):
        return [describe(each) for each in part]
    if isinstance(part, Mapping):
        return {str(key): describe(value) for key, value in part.items()}
    if isinstance(part, Tensor):
        return part.tolist()
    kind = type(part)
    # what is pickled in a way of its own, such as functools.partial, holds more than one sees
    plain = hasattr(part, "__dict__") and kind.__reduce__ is object.__reduce__
    if callable(part) and plain and not hasattr(part, "__name__"):
        return {"class": f"{kind.__module__}.{kind.__qualname__}", **describe(_held(part))}
    raise ValueError(f"{part!r} does not say what it does")


def _held(part: Any) -> dict[str, Any]:
    held = vars(part)
    if not isinstance(part, nn.Module):
        return held
    own = {name: value for name, value in held.items() if name not in vars(nn.Module())}
    return {**own, **dict(part.named_buffers()), **dict(part.named_children())}
