"""Prompt-only checkpoints, and the published format read without running what is pickled in it.

A file is a dict with the keys that Dassl gives a checkpoint (state_dict, epoch, optimizer, scheduler,
val_result) and a header of plain types. Only learned tensors are stored, under their published names.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict, defaultdict
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from .files import write_atomically

FORMAT = 2
FINAL_FILE = "model.pth.tar-{epoch}"
BEST_FILE = "model-best.pth.tar"
NEWEST = "checkpoint"
ALWAYS_SAID = ("method", "backbone")


class CheckpointError(ValueError):
    """A checkpoint that is missing, unreadable, or made for something else."""


def save(path: Path, checkpoint: Mapping[str, Any]) -> None:
    """Write a checkpoint atomically and make it the one that the folder's `checkpoint` file names."""
    write_atomically(path, lambda temporary: torch.save(dict(checkpoint), temporary))
    write_atomically(path.parent / NEWEST, lambda t: t.write_text(f"{path.name}\n"))


class _Inert:
    """Stands in for a pickled object that is not needed; keeps nothing and does nothing."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


_PLAIN = {
    ("__builtin__", "dict"): dict,  # as protocol 2 writes it
    ("builtins", "dict"): dict,
    ("collections", "defaultdict"): defaultdict,
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    ("torch", "Size"): torch.Size,
}
_INERT_MODULES = ("torch.optim", "dassl.optim")


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if part := _PLAIN.get((module, name)):
            return part
        if module in ("torch", "torch.storage") and name.endswith("Storage"):
            return super().find_class(module, name)
        if any(module == known or module.startswith(f"{known}.") for known in _INERT_MODULES):
            return _Inert
        raise CheckpointError(
            f"it asks for {module}.{name}, which a checkpoint of prompts has no use for. Nothing was "
            "executed; do not load it from a source you do not trust"
        )


_RESTRICTED_PICKLE = SimpleNamespace(
    __name__="restricted_pickle",
    Unpickler=_Unpickler,
    load=lambda file, **kwargs: _Unpickler(file, **kwargs).load(),
)


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint of ours or of the published code onto the CPU, executing nothing in it.

    Optimizers and schedulers pickled in published files become inert placeholders.

    Raises:
        CheckpointError: the file is missing, truncated or no checkpoint, or its pickle asks for
            anything but tensors and plain containers.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}{_present(path.parent)}")
    try:
        checkpoint = torch.load(
            path, map_location="cpu", pickle_module=_RESTRICTED_PICKLE, weights_only=False
        )
    except CheckpointError as error:
        raise CheckpointError(f"{path} was refused: {error}") from error
    except Exception as error:
        raise CheckpointError(
            f"{path} cannot be read: {error}. It is truncated or not a checkpoint; copy it again, or "
            "train again"
        ) from error
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("state_dict"), dict):
        raise CheckpointError(f"{path} holds no state_dict: it is not a checkpoint of this family")
    return checkpoint


def _present(folder: Path) -> str:
    found = sorted(p.name for p in folder.glob("model*")) if folder.is_dir() else []
    return f"; {folder} holds {', '.join(found)}" if found else f"; {folder} holds no checkpoint"


def locate(folder: Path, epoch: int | None) -> Path:
    """The file of an epoch; without one, the best on validation, else the newest.

    Raises:
        CheckpointError: there is none.
    """
    if epoch is not None:
        return folder / FINAL_FILE.format(epoch=epoch)
    newest = folder / NEWEST
    if (folder / BEST_FILE).is_file() or not newest.is_file():
        return folder / BEST_FILE
    return folder / newest.read_text().strip()


def check_header(path: Path, header: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Compare what a checkpoint says of itself with what is to be loaded into.

    Raises:
        CheckpointError: names every key that differs, with both sides.
    """
    differing = [
        f"{key} is {header.get(key)!r} in the file and {value!r} here"
        for key, value in expected.items()
        # what earlier versions did not write shows in the tensors and the probe
        if (key in header or key in ALWAYS_SAID) and header.get(key) != value
    ]
    if differing:
        raise CheckpointError(
            f"{path} was made for something else: {'; '.join(differing)}. Use the configuration that "
            "made it, or another checkpoint"
        )
