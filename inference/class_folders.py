"""Pictures moved into a folder for each class; what does not fit is refused before any moves."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from prompting.errors import InputError

LONGEST = 255
"""Bytes that a name may have on any usual disk."""
_NOT_IN_NAMES = re.compile(r'[<>:"/\\|?*\x00-\x1f]')


def folder_name(name: str) -> str:
    """A class name as the name of a folder on any system."""
    return _NOT_IN_NAMES.sub("_", name).strip(". ") or "_"


def check(paths: Iterable[str], classes: Sequence[str], folder: Path) -> None:
    """Refuse, before anything is computed, pictures that could not be moved, and classes that could not
    have a folder each.

    Raises:
        InputError: says which, and why.
    """
    for parent in sorted({os.path.dirname(os.path.abspath(path)) for path in paths}):
        if os.path.isdir(parent) and not os.access(parent, os.W_OK | os.X_OK):
            raise InputError(f"there is no permission to move pictures out of {parent}")
    owners: dict[str, str] = {}
    for name in classes:
        into = folder / folder_name(name)
        # some disks tell no capital letters from small ones
        if (owner := owners.setdefault(into.name.casefold(), name)) != name:
            raise InputError(
                f"the classes {owner!r} and {name!r} would have one folder, {into}: give them other "
                "names, without signs that no folder may have"
            )
        if (size := len(os.fsencode(into.name))) > LONGEST:
            raise InputError(
                f"the class {name[:40] + '...'!r} cannot have a folder: its name has {size} bytes, and "
                f"{LONGEST} are the most. Give it a shorter name, or leave --move-into out"
            )
        if os.path.lexists(into) and not into.is_dir():
            raise InputError(
                f"{into} is no folder, where the pictures of {name!r} would go: move it away, or name "
                "another folder"
            )
        if into.is_dir() and not os.access(into, os.W_OK | os.X_OK):
            raise InputError(f"there is no permission to write in {into}")


def move(named: Iterable[tuple[str, str]], folder: Path) -> int:
    """Move pictures, each a path with the name of its class; returns how many. Nothing is overwritten:
    a picture whose name is taken gets a number behind it. A link leads where it led.

    Raises:
        InputError: with its number a name is too long; then nothing was moved.
    """
    targets = _targets(named, folder)
    links = {path: os.path.realpath(path) for path in targets if os.path.islink(path)}
    moved = {os.path.realpath(path): targets[path] for path in targets.keys() - links}
    for path, target in targets.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        if picture := links.get(path):
            # a relative link would lead elsewhere, and what it leads to may move too
            target.symlink_to(moved[picture].absolute() if picture in moved else picture)
            os.unlink(path)
        else:
            shutil.move(path, target)
    return len(targets)


def _targets(named: Iterable[tuple[str, str]], folder: Path) -> dict[str, Path]:
    targets: dict[str, Path] = {}
    taken: set[Path] = set()
    for path, name in named:
        into = folder / folder_name(name)
        if os.path.realpath(os.path.dirname(path)) == os.path.realpath(into):
            continue
        target = _free(into / Path(path).name, taken)
        if len(os.fsencode(target.name)) > LONGEST:
            raise InputError(
                f"{path} cannot be moved into {into}, where its name is taken and too long for a "
                "number behind it: give it another name. No picture was moved"
            )
        targets[path] = target
        taken.add(target)
    return targets


def _free(path: Path, taken: set[Path]) -> Path:
    number, free = 2, path
    while free in taken or os.path.lexists(free):
        free, number = path.with_name(f"{path.stem}_{number}{path.suffix}"), number + 1
    return free
