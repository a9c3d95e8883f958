"""Something that goes wrong at the n-th file operation of a process."""

from __future__ import annotations

import builtins
import errno
import io
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

KINDS = ("killed before", "killed after", "disk full", "permission denied")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Faults:
    """Counts the file operations below a folder, and lets the one of a number go wrong.

    Counted are os.replace, rename, unlink, mkdir and fsync, files opened for writing, and torch.save,
    which writes past Python: killed there, or on a full disk, it leaves half of the file. A full disk
    lets half of a text be written, too.

    Args:
        folder: operations elsewhere are left alone.
        at: the number of the operation, from 1; 0 counts only.
        kind: one of KINDS.
        note: a file that gets the operation's number and name, appended.
    """

    def __init__(self, folder: Path, at: int = 0, kind: str = "", note: Path | None = None) -> None:
        self.folder, self.at, self.kind = str(folder), at, kind
        self.note, self.count = note, 0

    def install(self) -> None:
        """Wrap the functions of this process, for good."""
        self.log = self.note and os.open(self.note, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        for name in ("replace", "rename", "unlink", "mkdir", "fsync"):
            setattr(os, name, self._wrap(name, getattr(os, name)))
        os.open = self._wrap("os.open", os.open, _flags_write)
        builtins.open = io.open = self._wrap("open", io.open, _mode_writes)
        torch.save = self._wrap("torch.save", torch.save)

    def _wrap(
        self, name: str, function: Callable, counts: Callable[..., bool] = lambda *_, **__: True
    ) -> Callable:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            if not (self._is_below(name, arguments) and counts(*arguments, **named)):
                return function(*arguments, **named)
            self.count += 1
            if self.log:
                paths = [str(a) for a in arguments[:2] if isinstance(a, (str, bytes, os.PathLike))]
                os.write(self.log, f"{self.count} {name} {' '.join(paths)}\n".encode())
            if self.count != self.at:
                return function(*arguments, **named)
            return self._go_wrong(name, function, arguments, named)

        return wrapped

    def _is_below(self, name: str, arguments: tuple) -> bool:
        place = arguments[1] if name == "torch.save" else arguments[0]
        if isinstance(place, int):
            try:
                place = os.readlink(f"/proc/self/fd/{place}")
            except OSError:
                return False
        if isinstance(place, (str, bytes, os.PathLike)):
            return os.path.abspath(os.fsdecode(place)).startswith(self.folder)
        return name == "torch.save"

    def _go_wrong(self, name: str, function: Callable, arguments: tuple, named: dict) -> Any:
        if self.kind == "permission denied":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(arguments[0])[:200])
        if self.kind == "disk full":
            if name == "torch.save":
                _save_half(function, *arguments)
                # what torch says of it
                raise RuntimeError(
                    "[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0"
                )
            if name == "open":
                return _Full(function(*arguments, **named))
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(arguments[0])[:200])
        if self.kind == "killed after":
            if name == "torch.save":
                _save_half(function, *arguments)
            else:
                function(*arguments, **named)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("a killed process does not go on")


_open = io.open


def _flags_write(path: Any, flags: int = 0, *_: Any, **__: Any) -> bool:
    return bool(flags & _WRITING)


def _mode_writes(file: Any, mode: str = "r", *_: Any, **__: Any) -> bool:
    return any(letter in mode for letter in "wax+")


def _save_half(save: Callable, content: Any, place: Any, *_: Any) -> None:
    whole = io.BytesIO()
    save(content, whole)
    half = whole.getvalue()[: len(whole.getvalue()) // 2]
    if isinstance(place, (str, os.PathLike)):
        with _open(place, "wb") as file:
            file.write(half)
    else:
        place.write(half)


class _Full:
    """A file on a disk that is full after half of what is written."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def write(self, content: Any) -> int:
        self.file.write(content[: len(content) // 2])
        self.file.flush()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.file.name)

    def __enter__(self) -> _Full:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)
