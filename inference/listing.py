"""Which pictures and classes a command line names."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

from datasets.files import read_text
from datasets.folders import IMAGE_SUFFIXES
from datasets.splits import abbreviate
from prompting.errors import InputError

STANDARD_INPUT = "-"


def list_pictures(given: Sequence[str], lines: TextIO | None = None) -> list[str]:
    """The paths of pictures, each once, in the order given. What is left out is said on standard error.

    Args:
        given: files; folders, whose pictures are found at any depth, in linked folders too, sorted,
            without hidden ones; and - for a list, a path a line.
        lines: the list; standard input by default.

    Raises:
        InputError: a file or folder is not there or may not be listed, or there is no picture.
    """
    if not given:
        raise InputError("no pictures are named: give files, folders, or - for a list")
    found: dict[str, str] = {}
    others: list[str] = []
    empty = []
    for path in given:
        pictures = list(_pictures_of(path, lines, others))
        if not pictures:
            empty.append(path)
        for picture in pictures:
            found.setdefault(_place_of(picture), picture)
    if not found:
        beside = f", and found {abbreviate(others)}" if others else ""
        raise InputError(
            f"there is no picture in {', '.join(given[:3])}: looked for {' '.join(IMAGE_SUFFIXES)}"
            f"{beside}"
        )
    if empty:
        print(f"note: there is no picture in {abbreviate(empty)}", file=sys.stderr)
    if others:
        print(
            f"note: {len(others)} files left out, not pictures by their names: {abbreviate(others)}",
            file=sys.stderr,
        )
    return list(found.values())


def _place_of(picture: str) -> str:
    """The same for one picture in a folder that is reached on several ways."""
    folder, name = os.path.split(os.path.abspath(picture))
    try:
        return os.path.join(os.path.realpath(folder), name)
    except ValueError:  # it holds a null character, which is said when it is read
        return picture


def _pictures_of(path: str, lines: TextIO | None, others: list[str]) -> Iterable[str]:
    if path == STANDARD_INPUT:
        return _lines_of(lines or sys.stdin)
    if os.path.isdir(path):
        return _pictures_in(path, others)
    if not os.path.lexists(path):
        raise InputError(f"there is no file or folder {path}")
    return [path]


def _lines_of(lines: TextIO) -> list[str]:
    if hasattr(lines, "reconfigure"):
        lines.reconfigure(errors="surrogateescape")  # a path is any bytes
    return [line for each in lines if (line := each.rstrip("\r\n"))]


def _pictures_in(folder: str, others: list[str]) -> Iterator[str]:
    """The pictures in a folder; to `others` goes what is no picture by its name."""

    def refuse(error: OSError) -> None:
        raise InputError(
            f"the folder {error.filename} cannot be listed ({error.strerror}): ask its owner for "
            "permission, or name the pictures themselves"
        ) from error

    seen = {os.path.realpath(folder)}
    for place, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        inner = {name: os.path.realpath(os.path.join(place, name)) for name in sorted(folders)}
        folders.clear()
        for name, target in inner.items():
            # a link may lead back
            if not name.startswith(".") and target not in seen:
                seen.add(target)
                folders.append(name)
        for name in sorted(names):
            if name.startswith("."):
                continue
            path = os.path.join(place, name)
            if name.lower().endswith(IMAGE_SUFFIXES):
                yield path
            else:
                others.append(path)


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
