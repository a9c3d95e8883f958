"""Checksums of files, and a full disk said with the file and the room."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from .errors import InputError

FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


LARGE = 10**9
"""Bytes from which on a progress bar shows that a file is being read."""


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """The checksum of a file in hexadecimal digits."""
    result = hashlib.new(algorithm, usedforsecurity=False)
    size = os.path.getsize(path)
    with (
        open(path, "rb") as file,
        tqdm(
            total=size,
            unit="B",
            unit_scale=True,
            desc=f"checking {path.name}",
            disable=None if size >= LARGE else True,
        ) as bar,
    ):
        while chunk := file.read(2**20):
            result.update(chunk)
            bar.update(len(chunk))
    return result.hexdigest()


def readable(size: int) -> str:
    """A number of bytes as people say it: ``4.7 MB``, ``39.1 GB``."""
    unit = 10**9 if size >= 10**9 else 10**6
    return f"{size / unit:.1f} {'GB' if unit == 10**9 else 'MB'}"


def require_room(path: Path, size: int) -> None:
    """Raise InputError if the disk of ``path``, a file yet to be written, has no ``size`` bytes."""
    free = shutil.disk_usage(path.parent).free
    if free < size:
        raise InputError(
            f"No room for {path}: it takes {readable(size)}, and {readable(free)} are free. Make "
            "room, or choose another folder; what has been fetched is kept."
        )


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the failure to write ``path`` on a full disk into an InputError that says so."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        free = readable(shutil.disk_usage(path.parent).free)
        raise InputError(
            f"{path} cannot be written, the disk is full or a quota reached ({free} are free). Make "
            "room and run this again; what has been fetched is kept."
        ) from error
