"""The file that a killed run goes on from: a training at the end of its last whole epoch."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import inert_reader
import numpy as np
import torch
from torch import Tensor

from prompting import checkpoints
from prompting.errors import InputError, brief
from prompting.files import write_atomically

RESUME_FILE = "resume.pth"

_ADVICE = "Remove it to train from the start"
# what values of the wrong kind lead to where they are used
_OF_DAMAGE = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError)


def random_state() -> dict[str, Any]:
    """The state of all random generators, in types that torch.load reads without pickle."""
    version, python, gauss = random.getstate()
    _, keys, position, has_gauss, cached = np.random.get_state()
    return {
        "python": [version, list(python), gauss],
        "numpy": [keys.tolist(), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all(),
    }


def set_random_state(state: Mapping[str, Any]) -> None:
    """Restore what `random_state` gave; CUDA's where the number of devices is the same."""
    version, python, gauss = state["python"]
    random.setstate((version, tuple(python), gauss))
    keys, *rest = state["numpy"]
    np.random.set_state(("MT19937", np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])


@contextmanager
def kept_random_state() -> Iterator[None]:
    """A block that leaves all random generators as it found them."""
    state = random_state()
    yield
    set_random_state(state)


def scheduler_state(scheduler: Any) -> dict[str, Any]:
    """The state of any scheduler as plain values, whatever schedulers it holds.

    The original Dassl's warm-up puts its successor, an object, into its state_dict. Pickled and read
    again that would be another scheduler, of an optimizer that nobody steps.
    """
    return {key: _plain(value) for key, value in scheduler.state_dict().items()}


def restore_scheduler(scheduler: Any, state: Mapping[str, Any]) -> None:
    """Restore what `scheduler_state` gave; schedulers within this one stay and are restored too."""
    live = scheduler.state_dict()
    scheduler.load_state_dict(
        {key: _restored(live.get(key), value) for key, value in state.items()}
    )


def _is_scheduler(value: Any) -> bool:
    return hasattr(value, "state_dict") and hasattr(value, "load_state_dict")


def _plain(value: Any) -> Any:
    if _is_scheduler(value):
        return scheduler_state(value)
    if isinstance(value, Mapping):  # a Counter, for one
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value.item() if isinstance(value, np.generic) else value


def _restored(live: Any, value: Any) -> Any:
    """A stored value in the form of the one that is there now."""
    if _is_scheduler(live):
        restore_scheduler(live, value)
        return live
    if isinstance(live, Mapping) and isinstance(value, Mapping):
        restored = {key: _restored(live.get(key), each) for key, each in value.items()}
        return restored if type(live) is dict else type(live)(restored)
    if isinstance(live, (list, tuple)) and len(live) == len(value):
        return type(live)(_restored(*pair) for pair in zip(live, value, strict=True))
    return value


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Write a resume state, atomically, with a list of all tensors in it."""
    whole = {**state, "tensors": _listed(state)}
    write_atomically(path, lambda temporary: torch.save(whole, temporary))


def _listed(state: Mapping[str, Any]) -> dict[str, str]:
    """Type and shape of every tensor, by dotted name."""
    return {name: f"{tensor.dtype} {tuple(tensor.shape)}" for name, tensor in _tensors(state)}


def load(path: Path, identity: Mapping[str, Any], last_epoch: int) -> dict[str, Any]:
    """Read a resume state of the same method, backbone and form of prompts.

    Args:
        path: the file.
        identity: what it must agree on.
        last_epoch: the run's number of epochs.

    Raises:
        checkpoints.CheckpointError: the file cannot be read, was made for something else or at an
            epoch that leaves no state, as the last one, or holds numbers that are not finite.
    """
    try:
        state = inert_reader.load(path)
        epoch, made_for = state["epoch"], state["identity"]
        if not isinstance(made_for, Mapping):
            raise TypeError(f"its identity is {brief(made_for)}, which is no dict")
    except Exception as error:
        raise checkpoints.CheckpointError(f"{path} cannot be read: {error}. {_ADVICE}") from error
    checkpoints.check_header(path, made_for, identity)
    if type(epoch) is not int or not 0 < epoch < last_epoch:  # the last one leaves no state
        raise checkpoints.CheckpointError(
            f"{path} is of epoch {brief(epoch)}, but OPTIM.MAX_EPOCH is {last_epoch}: go on with the "
            "number of epochs that the run was started with"
        )
    listed, there = state.get("tensors"), _listed(state)
    if listed is not None and listed != there:  # states of earlier versions have no list
        listed = listed if isinstance(listed, Mapping) else {}
        differing = [
            n for n in sorted({*map(str, listed), *there}) if listed.get(n) != there.get(n)
        ]
        name = (differing or ["tensors"])[0]
        raise checkpoints.CheckpointError(
            f"{path}: {name} is not what was saved, but {there.get(name, 'missing')}. {_ADVICE}"
        )
    for name, tensor in _tensors(state):
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise checkpoints.CheckpointError(f"{path}: {name} is NaN or infinite. {_ADVICE}")
    return state


def check_shapes(
    path: Path,
    state: Mapping[str, Any],
    learned: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
) -> None:
    """Compare the shapes in a resume state with what they are to be copied into.

    Raises:
        checkpoints.CheckpointError: names the first that differs.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    expected = {f"optimizer.state.{number}": p for number, p in enumerate(parameters)}
    for name, tensor in _tensors(state):
        owner = name.rpartition(".")[0]
        # whatever is kept under a learned tensor's name, such as averages, is of its shape
        target = expected.get(owner) if tensor.ndim else None
        target = next((learned[own] for own in learned if name.endswith(f".{own}")), target)
        if target is not None and tensor.shape != target.shape:
            raise checkpoints.CheckpointError(
                f"{path}: {name} is {tuple(tensor.shape)} in the file and {tuple(target.shape)} here. "
                f"{_ADVICE}"
            )


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Turn what a state of the wrong form leads to into an error that names the file."""
    try:
        yield
    except (InputError, checkpoints.CheckpointError):
        raise
    except _OF_DAMAGE as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise checkpoints.CheckpointError(
            f"{path} cannot be gone on from ({reason}). {_ADVICE}"
        ) from error


def _tensors(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """All tensors in nested dicts and lists, by dotted name."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _tensors(each, f"{name}.{key}" if name else str(key))
    elif isinstance(value, (list, tuple)):
        for number, each in enumerate(value):
            yield from _tensors(each, f"{name}.{number}")
