"""Rows of features on disk, which any number of processes read and add to at once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import filelock
import torch
from torch import Tensor

from .files import write_atomically

ABOUT_FILE, LOCK_FILE = "about.json", "lock"
KEYS, ROWS = ".keys", ".rows"
PATIENCE = 10
"""Seconds that another process gets to finish its writing."""
KEY_BYTES = 16
_CHECKSUM_BYTES = 8


def row_key(*parts: object) -> bytes:
    """What stands for a row: other bytes for other parts, which are plain values."""
    text = repr(parts).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=KEY_BYTES).digest()


class FeatureRows:
    """Rows by key in two files: NAME.keys, 16 bytes a row, and NAME.rows, a checksum and the numbers.

    A row counts once its key is written, after it. The checksum covers `about`, the name, the key and
    the numbers: what is torn, flipped, written over or of other files counts as not there.
    Nothing is mapped into memory, since a mapped file that loses its end kills who reads it.

    Args:
        folder: of the files; it need not be there.
        name: of the files.
        about: says what the rows are of; kept beside them for people.
        width, dtype: of a row.

    Attributes:
        damaged: rows that this process has found damaged.
    """

    def __init__(self, folder: Path, name: str, about: str, width: int, dtype: torch.dtype) -> None:
        self.folder, self.name, self.about = folder, name, about
        self.width, self.dtype = width, dtype
        self._keys, self._rows = folder / f"{name}{KEYS}", folder / f"{name}{ROWS}"
        self._identity = row_key(about, name)
        self._bytes = _CHECKSUM_BYTES + width * dtype.itemsize
        self.damaged = 0
        self._forget()

    def get(self, key: bytes) -> Tensor | None:
        """The row (width,) of a key; None where it is not there or damaged."""
        row = self._found(key)
        if row is None:
            self._notice()
            row = self._found(key)
        return row

    def _found(self, key: bytes) -> Tensor | None:
        place = self._places.get(key)
        if place is None:
            return None
        row = self._read(place)
        if row[:_CHECKSUM_BYTES] != self._checksum(key, row[_CHECKSUM_BYTES:]):
            del self._places[key]
            self.damaged += 1
            return None
        return torch.frombuffer(bytearray(row[_CHECKSUM_BYTES:]), dtype=self.dtype)

    def put(self, keys: Sequence[bytes], rows: Tensor) -> Tensor:
        """Add the rows (N, width) whose keys are not there yet.

        Returns:
            all N rows as they are kept: what was there first stays.

        Raises:
            OSError, InputError: they cannot be written, or another process does not finish.
            NotImplementedError: the disk has no locks.
        """
        rows = rows.detach().to("cpu", self.dtype).contiguous()
        if not (self.folder / ABOUT_FILE).is_file():
            write_atomically(self.folder / ABOUT_FILE, lambda path: path.write_text(self.about))
        with filelock.FileLock(self.folder / LOCK_FILE, timeout=PATIENCE):
            self._notice()
            kept = [self._found(key) for key in keys]
            new: dict[bytes, int] = {}
            for position, key in enumerate(keys):
                if kept[position] is None:
                    new.setdefault(key, position)
            if new:
                self._append(list(new), rows[list(new.values())])
        return torch.stack(
            [
                rows[new[key]] if there is None else there
                for key, there in zip(keys, kept, strict=True)
            ]
        )

    def _append(self, keys: Sequence[bytes], rows: Tensor) -> None:
        content = [row.tobytes() for row in rows.view(torch.uint8).numpy()]
        checked = [self._checksum(key, row) + row for key, row in zip(keys, content, strict=True)]
        with _opened(self._rows) as file:
            file.seek(self._count * self._bytes)
            file.write(b"".join(checked))
        # in one call, so that a batch is there as a whole or not at all
        with _opened(self._keys) as file:
            file.seek(self._count * KEY_BYTES)
            file.write(b"".join(keys))
        self._notice()

    def _notice(self) -> None:
        """Take in the keys that were added since the last look."""
        try:
            about = os.stat(self._keys)
            count = about.st_size // KEY_BYTES
            if about.st_ino != self._file or count < self._count:
                self._forget()  # removed and made anew, or cut
                self._file = about.st_ino
            if count == self._count:
                return
            with open(self._keys, "rb") as file:
                file.seek(self._count * KEY_BYTES)
                content = file.read((count - self._count) * KEY_BYTES)
        except OSError:
            self._forget()
            return
        for start in range(0, len(content) - KEY_BYTES + 1, KEY_BYTES):
            # of two rows of a key the second was added since the first is damaged
            self._places[content[start : start + KEY_BYTES]] = self._count
            self._count += 1

    def _forget(self) -> None:
        self._places: dict[bytes, int] = {}
        self._count, self._file = 0, -1

    def _read(self, place: int) -> bytes:
        try:
            with open(self._rows, "rb", buffering=0) as file:
                file.seek(place * self._bytes)
                return file.read(self._bytes)
        except OSError:
            return b""

    def _checksum(self, key: bytes, row: bytes) -> bytes:
        return hashlib.blake2b(key + row, digest_size=_CHECKSUM_BYTES, key=self._identity).digest()


def _opened(path: Path) -> BinaryIO:
    """A file to write anywhere in, made where it is missing."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(path, flags, 0o666), "r+b")
