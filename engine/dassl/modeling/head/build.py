"""Building a head from its name."""

from __future__ import annotations

from typing import Any

from dassl.utils import Registry, check_availability
from torch import nn

__all__ = ["HEAD_REGISTRY", "build_head"]

HEAD_REGISTRY = Registry("HEAD")


def build_head(name: str, verbose: bool = True, **kwargs: Any) -> nn.Module:
    """The head registered as ``name``; ``kwargs`` go to it.

    Raises:
        InputError: no head of that name is registered.
    """
    check_availability(name, HEAD_REGISTRY.registered_names())
    if verbose:
        print(f"Head: {name}")
    return HEAD_REGISTRY.get(name)(**kwargs)
