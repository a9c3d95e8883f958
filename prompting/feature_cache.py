"""Features of a frozen encoder on disk: computed once, and computed again where a file is damaged."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import filelock
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from .errors import InputError
from .files import write_atomically
from .tensors import digest

_NAME = 16  # bytes that stand for a picture


def cache_folder() -> Path:
    """Where computed features are kept: PROMPT_CACHE, else a folder in the user's cache."""
    if given := os.environ.get("PROMPT_CACHE"):
        return Path(given).expanduser()
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "prompt-learning"


def path_of(kind: str, key: str) -> Path:
    """The file of a kind of features that belongs to a key alone."""
    return cache_folder() / kind / f"{hashlib.sha256(key.encode()).hexdigest()}.safetensors"


def read(path: Path, key: str) -> dict[str, Tensor]:
    """What `write` has kept; {} where there is no such file, or where it is damaged, which is said."""
    if not path.is_file():
        return {}
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if (file.metadata() or {}).get("sha256") != digest(tensors, key):
                raise ValueError("its checksum is wrong")
    except Exception as error:
        print(f"{path} is damaged ({error}): the features are computed again")
        return {}
    return tensors


def write(path: Path, tensors: dict[str, Tensor], key: str) -> None:
    """Keep tensors on the CPU; a cache that cannot be written is gone without, which is said."""
    try:
        checksum = {"sha256": digest(tensors, key)}
        write_atomically(path, lambda part: save_file(tensors, part, checksum))
    except (OSError, InputError) as error:
        print(f"The features are not kept: {error}. PROMPT_CACHE names a folder")


def picture_features(
    key: str, pictures: Sequence[str], encode: Callable[[Sequence[int]], Tensor]
) -> Tensor:
    """Features of pictures, each of them encoded where the cache has not got it.

    A picture is known by its path, size and time of modification. Of several processes one encodes, and
    the others wait for it.

    Args:
        key: everything else that decides a feature: weights, precision, transforms.
        pictures: paths of N files.
        encode: gives the features (n, D) of n of the pictures, by their places in the list, on the CPU.

    Returns:
        (N, D) on the CPU.
    """
    names = [_name(picture) for picture in pictures]
    path = path_of("pictures", key)
    with _alone(path):
        kept = read(path, key)
        known = [bytes(row.tolist()) for row in kept.get("names", ())]
        place = {name: row for row, name in enumerate(known)}
        lacking = [row for row, name in enumerate(names) if name not in place]
        if lacking:
            found = encode(lacking)
            features = torch.cat([kept["features"], found]) if kept else found
            known += [names[row] for row in lacking]
            place = {name: row for row, name in enumerate(known)}
            table = torch.tensor([list(name) for name in known], dtype=torch.uint8)
            kept = {"features": features, "names": table}
            write(path, kept, key)
    return kept["features"][[place[name] for name in names]]


def _name(picture: str) -> bytes:
    about = os.stat(picture)
    text = f"{os.path.abspath(picture)}\0{about.st_size}\0{about.st_mtime_ns}"
    return hashlib.sha256(os.fsencode(text)).digest()[:_NAME]


def _alone(path: Path) -> AbstractContextManager:
    """A lock beside a file of the cache; none where there cannot be one."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return filelock.FileLock(path.with_suffix(".lock")).acquire()
    except (OSError, NotImplementedError):
        return nullcontext()
