"""Recognise copies of a dataset that lie elsewhere than expected, and say how to move them.

People unpack archives by hand: a folder lands in itself (``cars_train/cars_train``), keeps the
name that it has in its archive (``EuroSAT_RGB``), stays in the archive's outermost folder
(``dtd/dtd/images``), or the dataset's folder is spelt otherwise (``food101``).
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from .catalogue import catalogue
from .few_shot import FewShotDataset
from .ilsvrc import DEVKIT, flat_images

KAGGLE = {f"images/{part}": f"ILSVRC/Data/CLS-LOC/{part}" for part in ("train", "val")}
"""Where ImageNet's images lie in the archive of the Kaggle competition."""
WRAPPERS = 2
"""Levels of folders around a dataset's content that are looked through."""
MOST_FOLDERS = 20
"""A folder with more folders than this in it is one of classes, and not looked through."""


def find_misplaced(root: str, name: str, dataset: type[FewShotDataset]) -> list[tuple[str, str]]:
    """What of the dataset ``name`` lies elsewhere below the data root: pairs of what is wrong and
    what to do, the latter a command of a shell where one does it."""
    data, folder = Path(root), Path(root) / dataset.dataset_dir
    aliases = _aliases(dataset)
    if not folder.is_dir():
        if data.name == folder.name and any(os.path.lexists(data / path) for path in aliases):
            wrong = f"{data} is the folder of {name}; the data root is the one around it."
            return [(wrong, f"Pass --root {data.parent}")]
        for other in _renamed(data, name, dataset):
            if any(_find_below(other, names) for names in aliases.values()):
                return [_move(other, folder)]
    misplaced = []
    for path, names in aliases.items():
        expected = folder / path
        if expected.is_dir():
            found = _find_in(expected, {*names, expected.name})
        elif os.path.lexists(expected):
            continue
        else:
            found = _find_below(folder, names) or _find_in(data, _own(names, dataset))
        if found:
            misplaced.append(_move(found, expected))
    flat = flat_images(folder / "images/val")
    if flat:
        misplaced.append(_sort(root, name, folder, len(flat)))
    return misplaced


def _aliases(dataset: type[FewShotDataset]) -> dict[str, set[str]]:
    """For each path that the recipe provides, that path, its last name where it has several, and
    its names in the archives of its sources."""
    aliases: dict[str, set[str]] = {}
    for piece in dataset.recipe.pieces:
        for path in piece.provides:
            names = {path, PurePosixPath(path).name, KAGGLE.get(path, path)}
            for source in piece.sources:
                names |= {inside for inside, to in source.take.items() if to == path}
            aliases[path] = names
    return aliases


def _own(names: set[str], dataset: type[FewShotDataset]) -> set[str]:
    """Those of the names that no other dataset has, so that they tell whose they are."""
    others = set().union(
        *(
            names_of_other
            for other in catalogue().values()
            if other is not dataset
            for names_of_other in _aliases(other).values()
        )
    )
    return names - others


def _renamed(data: Path, name: str, dataset: type[FewShotDataset]) -> list[Path]:
    """Folders of the data root that are called like the dataset, but for case and punctuation."""
    spelt = {_plain(n) for n in (name, dataset.dataset_dir, dataset.__module__.rpartition(".")[2])}
    return [folder for folder in _folders(data) if _plain(folder.name) in spelt]


def _find_below(folder: Path, names: set[str]) -> Path | None:
    """The first path of one of these names in ``folder`` or in a folder wrapped around it."""
    for base in _wrappers(folder, WRAPPERS):
        if found := _find_in(base, names):
            return found
    return None


def _find_in(folder: Path, names: set[str]) -> Path | None:
    """The path in ``folder`` that has one of these names, but for case and punctuation."""
    for name in sorted(names):
        found = folder
        for part in PurePosixPath(name).parts:
            found = next((p for p in _entries(found) if _plain(p.name) == _plain(part)), None)
            if found is None:
                break
        else:
            return found
    return None


def _wrappers(folder: Path, depth: int) -> Iterator[Path]:
    """``folder`` and the folders in it, ``depth`` levels down."""
    yield folder
    inner = _folders(folder)
    if depth and len(inner) <= MOST_FOLDERS:
        for each in inner:
            yield from _wrappers(each, depth - 1)


def _folders(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if path.is_dir()]


def _entries(folder: Path) -> list[Path]:
    """What ``folder`` holds, hidden entries left out, sorted; nothing if it cannot be listed."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return []


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name.lower())


def _move(found: Path, expected: Path) -> tuple[str, str]:
    """The problem and the command for something that lies at ``found``."""
    source, target, parent = (shlex.quote(str(p)) for p in (found, expected, expected.parent))
    if expected in found.parents:
        outer = expected.with_name(expected.name + ".outer")
        inner = shlex.quote(str(outer / found.relative_to(expected)))
        outer = shlex.quote(str(outer))
        command = f"mv {target} {outer} && mv {inner} {target} && rmdir {outer}"
    elif expected.parent.is_dir():
        command = f"mv {source} {target}"
    else:
        command = f"mkdir -p {parent} && mv {source} {target}"
    return f"{found} should be {expected}. Move it.", command


def _sort(root: str, name: str, folder: Path, count: int) -> tuple[str, str]:
    """The problem and the remedy for ImageNet's validation pictures in no class folders."""
    wrong = f"{folder / 'images/val'} holds {count} pictures that are in no class folder."
    sort = f"python -m datasets.download {name} --root {shlex.quote(root)}"
    devkit = f"{DEVKIT}.tar.gz"
    if (folder / devkit).is_file():
        return wrong, sort
    return wrong, f"Put {devkit} (from https://image-net.org) into {folder}, then {sort}"
