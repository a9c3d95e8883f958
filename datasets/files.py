"""Files that no reader ever sees half of, and text files of any editor."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from .errors import DiskFullError, InputError, MissingError

TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}")
"""Names of files that `write_bytes` has begun."""
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def write_bytes(content: bytes, path: str | Path, durable: bool = True) -> None:
    """Write ``path`` whole or not at all; any number of threads and processes may write it at once.

    Args:
        durable: have the file on the disk before this returns, so that a power cut cannot empty it.

    Raises:
        DiskFullError: there is no room; what lay at ``path`` is as it was.
        OSError: it cannot be written for another reason.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
        if durable:
            _sync_folder(path.parent)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        free = shutil.disk_usage(path.parent).free
        raise DiskFullError(
            f"There is no room for {path}: it needs {len(content):,} bytes, and {free:,} are free "
            "(or a quota is used up). Make room, and run the same command again."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Have a folder's new names on the disk; Windows cannot open folders, and needs no such thing."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (
            errno.EINVAL,
            errno.ENOTSUP,
        ):  # some network shares have no such call
            raise
    finally:
        os.close(handle)


def write_json(content: Any, path: str | Path) -> None:
    """The same for JSON."""
    write_bytes(json.dumps(content).encode(), path)


def remove_leftovers(folder: str | Path, of: str = "") -> None:
    """Remove what killed processes left of files that they were writing into ``folder``; only
    where no other process writes there.

    Args:
        of: only of files whose names begin like this.
    """
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if e.name.startswith(f".{of}")]
    for name in names:
        if TEMPORARY.fullmatch(name):
            Path(folder, name).unlink(missing_ok=True)


@contextlib.contextmanager
def alone(folder: str | Path) -> Iterator[None]:
    """Be the only process that works in ``folder``: wait, and say so, while another one does."""
    lock = FileLock(Path(folder, ".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"Waiting for another process that works in {folder}")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def read_text(path: str | Path) -> str:
    """The content of a text file in UTF-8, with or without a byte order mark.

    Raises:
        MissingError: there is no such file.
        InputError: it cannot be read, or is in another encoding.
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError as error:
        raise MissingError(f"The file {path} does not exist.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _not_utf8(path, f"line {line} cannot be decoded") from error
    if "\0" in text:
        raise _not_utf8(path, "it holds null characters, as UTF-16 does")
    return text


def read_mat(path: str | Path) -> dict[str, Any]:
    """The arrays of a MATLAB file.

    Raises:
        OSError: there is no such file.
        ValueError: it is none.
    """
    from scipy.io import loadmat  # half a second, which other datasets do without

    try:
        return loadmat(path)
    except OSError:
        raise
    except Exception as error:  # scipy raises whatever it comes upon in a damaged one
        raise ValueError(f"{path} is no MATLAB file: {type(error).__name__}: {error}") from error


def _not_utf8(path: str | Path, reason: str) -> InputError:
    return InputError(
        f"{path} is not UTF-8 text: {reason}. Save it in the encoding UTF-8 (Excel: "
        '"CSV UTF-8"; editors: Save As, Encoding).'
    )
