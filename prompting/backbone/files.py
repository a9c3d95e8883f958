"""Weights and configurations on disk; nothing in them is executed but OpenAI's own archives."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import clip.clip
import inert_reader
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..errors import InputError
from ..tensors import without_module

Find = Callable[[str], Path | None]
"""The file of that name among those of one model; None where there is none."""

# what OpenAI's archives and earlier versions of transformers hold beside the weights
_NOT_WEIGHTS = ("input_resolution", "context_length", "vocab_size", "attn_mask", "position_ids")
_INDEX = ".index.json"


def beside(path: Path) -> Find:
    """What lies in a folder."""
    return lambda name: found if (found := path / name).is_file() else None


def read_weights(path: Path, find: Find | None = None, trusted: bool = False) -> dict[str, Tensor]:
    """The tensors of a file by name, on the CPU, without what is no weight.

    Args:
        path: a state dict by torch.save or safetensors, a training checkpoint with one, a TorchScript
            archive, or the index of a state dict in several files.
        find: gives the other files of the model; those beside it by default.
        trusted: whether it is one of OpenAI's archives, which TorchScript may then load.

    Raises:
        InputError: it is none of these, is damaged, or could only be read by executing it.
    """
    if path.name.endswith(_INDEX):
        state = _read_parts(path, find or beside(path.parent))
    else:
        state = _read(path, trusted)
    state = without_module(state)
    return {name: value for name, value in state.items() if not name.endswith(_NOT_WEIGHTS)}


def _read_parts(index: Path, find: Find) -> dict[str, Tensor]:
    named = read_json(index).get("weight_map")
    if not isinstance(named, dict) or not all(
        isinstance(part, str) and Path(part).name == part for part in named.values()
    ):
        raise InputError(
            f'{index} holds no "weight_map" of tensors to files beside it: copy it again'
        )
    state: dict[str, Tensor] = {}
    for part in sorted(set(named.values())):
        if (path := find(part)) is None:
            raise InputError(f"{index} names the file {part}, which is not there: copy it too")
        state |= _read(path)
    return state


def _read(path: Path, trusted: bool = False) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        elif not inert_reader.is_torchscript(path):
            state = inert_reader.load(path)
        elif trusted:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                state = torch.jit.load(str(path), map_location="cpu").state_dict()
        else:
            state = inert_reader.load_torchscript(path)
    except inert_reader.RefusedFile as error:
        if error.wanted:
            raise InputError(
                f"{path} is not a state dict: it asks for {error.wanted}, as a whole pickled model "
                "does. Nothing was executed; save the model's state_dict() with torch.save instead"
            ) from error
        raise InputError(str(error)) from error
    except (RuntimeError, OSError, SafetensorError) as error:
        raise InputError(
            f"{path} cannot be read as CLIP weights: {error}. Copy it again"
        ) from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]  # of a training checkpoint
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        raise InputError(f"{path} is not a state dict: expected a dict of tensors by name")
    if path.suffix != ".safetensors" and inert_reader.is_legacy(path):
        _check_coverage(path, state)
    return state


def _check_coverage(path: Path, state: Mapping[str, Tensor]) -> None:
    """Of a file without checksums: a wrong size leaves numbers that are stored and in no tensor."""
    for name, value in state.items():
        if value.layout is not torch.strided:  # refused for that, later
            continue
        stored = value.untyped_storage().nbytes() // value.element_size()
        if stored != value.numel():
            raise InputError(
                f"{path}: {name} is {tuple(value.shape)}, and {stored} numbers are stored for it. "
                "Files of this old form have no checksums, and this may be damaged: copy it again"
            )


def is_openai(path: Path) -> bool:
    """Whether a file is one of OpenAI's archives, by its checksum."""
    try:
        if not inert_reader.is_torchscript(path):
            return False
    except inert_reader.RefusedFile:  # reading it says why
        return False
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return any(f"/{digest}/" in address for address in clip.clip._MODELS.values())


def read_json(path: Path) -> dict[str, Any]:
    """A configuration.

    Raises:
        InputError: it is damaged.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read as JSON: {error}. Copy it again") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} should hold an object, {{...}}. Copy it again")
    return found
