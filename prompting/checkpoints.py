"""Prompt-only checkpoints, and the published format read without running what is pickled in it.

A file is a dict with the keys that Dassl gives a checkpoint (state_dict, epoch, optimizer, scheduler,
val_result) and a header of plain types. Only learned tensors are stored, under their published names.
The file to share holds the same tensors as safetensors, with the header as JSON in its metadata.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import inert_reader
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from .errors import InputError, brief
from .files import write_atomically
from .tensors import digest, without_module

FORMAT = 2
FINAL_FILE = "model.pth.tar-{epoch}"
BEST_FILE = "model-best.pth.tar"
NEWEST = "checkpoint"
SHARED_SUFFIX = ".safetensors"
SHARED_FILE = f"prompts{SHARED_SUFFIX}"
# what the probe's tensors are called beside those that are learned
_OF_PROBE = "probe/"
# buffers of published models with a row a class
_OF_EACH_CLASS = re.compile(
    r"(.*\.)?(token_prefix|token_suffix|tokenized_prompts|prompt_embeddings)"
)
ALWAYS_SAID = ("method", "backbone")


class CheckpointError(InputError):
    """A checkpoint that is missing, unreadable, or made for something else."""


def save(path: Path, checkpoint: Mapping[str, Any]) -> None:
    """Write a checkpoint atomically and make it the one that the folder's `checkpoint` file names."""
    write_atomically(path, lambda temporary: torch.save(dict(checkpoint), temporary))
    make_newest(path)


def make_newest(path: Path) -> None:
    """Let the folder's `checkpoint` file name a checkpoint beside it."""
    write_atomically(path.parent / NEWEST, lambda t: t.write_text(f"{path.name}\n"))


def save_prompts(path: Path, checkpoint: Mapping[str, Any]) -> None:
    """Write the file to share: what is learned and the probe as safetensors, the header as JSON in its
    metadata, with a checksum of both."""
    tensors = dict(checkpoint["state_dict"])
    header = {**checkpoint["header"], "epoch": checkpoint["epoch"]}
    if probe := checkpoint.get("probe"):
        tensors |= {_OF_PROBE + k: v for k, v in probe.items() if isinstance(v, Tensor)}
        header["probe"] = {k: v for k, v in probe.items() if not isinstance(v, Tensor)}
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    text = json.dumps(header)
    metadata = {"header": text, "sha256": digest(plain, text)}
    write_atomically(path, lambda temporary: save_file(plain, temporary, metadata))


def load_prompts(path: Path) -> dict[str, Any]:
    """Read a file of `save_prompts`, as the checkpoint that it was written from.

    Raises:
        CheckpointError: the file is no such file, or damaged.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        text = metadata["header"]
        if metadata["sha256"] != digest(tensors, text):
            raise ValueError("its checksum is wrong")
        header = json.loads(text)
        epoch, probe = header.pop("epoch", 0), header.pop("probe", None)
    except Exception as error:
        raise CheckpointError(
            f"{path} cannot be read as prompts: {error!r}. It is damaged or was not written by this "
            "project; copy it again"
        ) from error
    checkpoint: dict[str, Any] = {"epoch": epoch, "header": header}
    parts = {k: v for k, v in tensors.items() if k.startswith(_OF_PROBE)}
    checkpoint["state_dict"] = {k: v for k, v in tensors.items() if k not in parts}
    of_probe = {k.removeprefix(_OF_PROBE): v for k, v in parts.items()}
    checkpoint["probe"] = {**probe, **of_probe} if isinstance(probe, dict) else probe
    return _checked(path, checkpoint)


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint of ours, of the published code, or prompts to share, executing nothing in it.

    Optimizers and schedulers pickled in published files become inert placeholders.

    Raises:
        CheckpointError: the file is missing, damaged or no checkpoint, or its pickle asks for anything
            but tensors and plain containers.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}{_present(path.parent)}")
    if path.suffix == SHARED_SUFFIX:
        return load_prompts(path)
    try:
        return _checked(path, inert_reader.load(path))
    except inert_reader.RefusedFile as error:
        raise CheckpointError(str(error)) from error


def _checked(path: Path, checkpoint: Any) -> dict[str, Any]:
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("state_dict"), dict):
        raise CheckpointError(f"{path} holds no state_dict: it is not a checkpoint of this family")
    for name, value in checkpoint["state_dict"].items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise CheckpointError(
                f"{path} is not a checkpoint: {brief(name)} in its state_dict is "
                f"{type(value).__name__} where a tensor was expected"
            )
    header, epoch = checkpoint.get("header", {}), checkpoint.get("epoch", 0)
    if not isinstance(header, dict):
        raise _no_checkpoint(path, f"its header is {brief(header)}, which is no dict")
    names = header.get("classnames", [""])
    if not _are_names(names):
        raise _no_checkpoint(path, f"its classes are {brief(names)}, which are no names")
    if type(epoch) is not int or epoch < 0:
        raise _no_checkpoint(path, f"its epoch is {brief(epoch)}, which is no number of epochs")
    _check_probe(path, checkpoint.get("probe"))
    state = without_module(checkpoint["state_dict"])
    return {"epoch": 0, **checkpoint, "state_dict": state}


def published_count(state: Mapping[str, Tensor]) -> int | None:
    """The number of classes that a published file was trained on, by what such files keep of each
    class's text beside what is learned; None where nothing of it is there."""
    counts = {len(value) for name, value in state.items() if _OF_EACH_CLASS.fullmatch(name)}
    return counts.pop() if len(counts) == 1 else None


def _no_checkpoint(path: Path, about: str) -> CheckpointError:
    return CheckpointError(f"{path} is not a checkpoint: {about}. Use another file, or train again")


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(n, str) for n in value)


def _check_probe(path: Path, probe: Any) -> None:
    whole = probe is None or (
        isinstance(probe, dict)
        and all(isinstance(probe.get(key), Tensor) for key in ("class_features", "logits"))
        and _are_names(probe.get("classnames"))
    )
    if not whole:
        raise CheckpointError(
            f"{path} is not a checkpoint of ours: its probe is not class features and logits of some "
            "class names. Use another file, or train again"
        )


def _present(folder: Path) -> str:
    if found := _models(folder):
        return f"; {folder} holds {', '.join(found)}"
    if not folder.exists() and _models(folder.parent):
        return f"; name the folder above the one that holds it: {folder.parent.parent}"
    return f"; {folder} holds no checkpoint"


def _models(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.glob("model*")) if folder.is_dir() else []


def locate(folder: Path, epoch: int | None) -> Path:
    """The file of an epoch; without one, the best on validation, else the newest.

    Raises:
        CheckpointError: the folder's `checkpoint` file does not name a file beside it.
    """
    if epoch is not None:
        return folder / FINAL_FILE.format(epoch=epoch)
    newest = folder / NEWEST
    if (folder / BEST_FILE).is_file() or not newest.is_file():
        return folder / BEST_FILE
    name = newest.read_text(encoding="utf-8", errors="replace").strip()
    if not re.fullmatch(r"\w[\w .+=-]*", name):
        raise CheckpointError(
            f"{newest} should hold the name of a checkpoint beside it, and holds {name[:60]!r}. Write "
            f"the name into it{_present(folder)}"
        )
    return folder / name


def check_header(path: Path, header: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Compare what a checkpoint says of itself with what is to be loaded into.

    Where ``expected`` has an ``earlier_KEY``, that is accepted for KEY too: earlier versions wrote it.

    Raises:
        CheckpointError: names every key that differs, with both sides.
    """
    differing = [
        f"{key} is {brief(header.get(key))} in the file and {brief(value)} here"
        for key, value in expected.items()
        # what earlier versions did not write shows in the tensors and the probe
        if (key in header or key in ALWAYS_SAID)
        and _as_json(header.get(key))
        not in map(_as_json, (value, expected.get(f"earlier_{key}", value)))
    ]
    if differing:
        raise CheckpointError(
            f"{path} was made for something else: {'; '.join(differing)}. Use the configuration that "
            "made it, or another checkpoint"
        )


def _as_json(value: Any) -> Any:
    """The value as a JSON header gives it back, which tells no tuple from a list."""
    return json.loads(json.dumps(value, default=repr, skipkeys=True))
