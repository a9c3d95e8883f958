"""Which pictures and classes a command line names."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

from datasets.files import read_text
from datasets.folders import IMAGE_SUFFIXES
from prompting.errors import InputError

STANDARD_INPUT = "-"


def list_pictures(given: Sequence[str], lines: TextIO | None = None) -> list[str]:
    """The paths of pictures, each once, in the order given.

    Args:
        given: files; folders, whose pictures are found at any depth, sorted, without hidden ones; and -
            for a list, a path a line.
        lines: the list; standard input by default.

    Raises:
        InputError: a file or folder is not there or may not be listed, or there is no picture.
    """
    if not given:
        raise InputError("no pictures are named: give files, folders, or - for a list")
    found: dict[str, str] = {}
    for path in given:
        for picture in _pictures_of(path, lines):
            found.setdefault(os.path.abspath(picture), picture)
    if not found:
        raise InputError(
            f"there is no picture in {', '.join(given[:3])}: looked for {' '.join(IMAGE_SUFFIXES)}"
        )
    return list(found.values())


def _pictures_of(path: str, lines: TextIO | None) -> Iterable[str]:
    if path == STANDARD_INPUT:
        return _lines_of(lines or sys.stdin)
    if os.path.isdir(path):
        return _pictures_in(path)
    if not os.path.lexists(path):
        raise InputError(f"there is no file or folder {path}")
    return [path]


def _lines_of(lines: TextIO) -> list[str]:
    if hasattr(lines, "reconfigure"):
        lines.reconfigure(errors="surrogateescape")  # a path is any bytes
    return [line for each in lines if (line := each.rstrip("\r\n"))]


def _pictures_in(folder: str) -> Iterator[str]:
    def refuse(error: OSError) -> None:
        raise InputError(
            f"the folder {error.filename} cannot be listed ({error.strerror}): ask its owner for "
            "permission, or name the pictures themselves"
        ) from error

    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and name.lower().endswith(IMAGE_SUFFIXES):
                yield os.path.join(place, name)


def read_classes(path: Path) -> list[str]:
    """The class names in a text file, a line each.

    Raises:
        InputError: no such file, it holds no name, or a line of it is empty.
    """
    names = [line.strip() for line in read_text(str(path)).splitlines()]
    if not any(names):
        raise InputError(f"{path} holds no class names: write them into it, a line each")
    if empty := [number for number, name in enumerate(names, start=1) if not name]:
        raise InputError(f"{path}: line {empty[0]} is empty. Remove it: a line is a class name")
    return names
