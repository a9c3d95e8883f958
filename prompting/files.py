"""Writing whole files: what is there after a kill or on a full disk is a whole file, old or new."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from .errors import InputError

_SUFFIX = ".partial"
_TEMPORARY = re.compile(rf"\..+\.[a-z0-9_]{{8}}{re.escape(_SUFFIX)}")
_FULL = (errno.ENOSPC, errno.EDQUOT) if hasattr(errno, "EDQUOT") else (errno.ENOSPC,)
# what torch, which names no reason, and safetensors say where there is no room
_NO_ROOM = re.compile(r"inline_container|PytorchStreamWriter|file write failed|os error 28\b")


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call write(temporary path) and move the result to its place, whole or not at all. What a link
    names is written, and the link stays.

    Raises:
        InputError: the disk is full, of which it says how much room there is; or what is there is no
            regular file.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        raise InputError(
            f"{path} cannot be written: what is there is no regular file. Give another name"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_SUFFIX)
        os.close(handle)
        temporary = Path(name)
        write(temporary)
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        _flush(temporary)
        os.replace(temporary, path)
    except Exception as error:
        if not _is_full(error):
            raise
        raise InputError(
            f"{path} could not be written: the disk or its quota is full ({_room(path.parent)} left). "
            "What was there before is untouched; free some room and give the same command again"
        ) from error
    finally:
        if temporary:
            temporary.unlink(missing_ok=True)
    with suppress(OSError):  # a folder cannot be opened on Windows, nor flushed everywhere
        _flush(path.parent)


def temporary_files(folder: Path) -> list[Path]:
    """What killed calls of `write_atomically` have left in a folder and in the folders in it."""
    found = (*folder.glob(f".*{_SUFFIX}"), *folder.glob(f"*/.*{_SUFFIX}"))
    return [path for path in found if _TEMPORARY.fullmatch(path.name)]


def _flush(path: Path) -> None:
    """Have the disk hold what was written."""
    is_folder = path.is_dir()
    handle = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _is_full(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in _FULL
    return bool(_NO_ROOM.search(str(error)))


def _room(folder: Path) -> str:
    return f"{shutil.disk_usage(folder).free / 2**20:.1f} MiB"
