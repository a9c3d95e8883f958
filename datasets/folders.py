"""Listing images in class folders, and splitting them where no split is given."""

from __future__ import annotations

import io
import os
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from dassl.data.datasets import Datum

from .errors import InputError, MissingError, NoPermissionError, NotAFolderError
from .files import read_text
from .splits import Splits, abbreviate

IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".gif",
)  # fmt: skip
NOT_CLASSES = ("__MACOSX",)
"""Folders that archives bring along."""
SPLIT_SEED = 0
"""Made splits do not depend on the run's SEED: all seeds train and test on the same images."""


def list_classes(folder: str) -> list[str]:
    """Names of the class folders in ``folder``, sorted; hidden ones do not count.

    Raises:
        MissingError: ``folder`` is missing, or holds no folders.
        NotAFolderError: ``folder`` is a file.
        NoPermissionError: ``folder`` cannot be listed.
    """
    names = list_folders(folder)
    if not names:
        raise MissingError(f"{folder} holds no class folders. Expected is {folder}/CLASS/*.jpg")
    return names


def list_folders(folder: str) -> list[str]:
    """Names of the folders in ``folder``, sorted, without hidden ones; maybe none.

    Raises:
        MissingError: beside them is a link to what is not there, as of a disk that is not mounted.
    """
    entries = [e for e in _scan(folder) if e.name not in NOT_CLASSES]
    if lost := [e.path for e in entries if e.is_symlink() and not os.path.exists(e.path)]:
        raise MissingError(
            f"{lost[0]} is a link to {os.readlink(lost[0])}, which is not there. Mount or put back "
            "what it names, or remove the link."
        )
    return sorted(e.name for e in entries if e.is_dir())


def list_images(folder: str) -> list[str]:
    """Names of the image files in a class folder, sorted; what else is there is left out and said.

    Raises:
        InputError: there is no image, or something that is named like one is no file.
        MissingError, NotAFolderError, NoPermissionError: as `list_classes`.
    """
    entries = sorted(_scan(folder), key=lambda entry: entry.name)
    folders = [e.name for e in entries if e.is_dir()]
    others = [e for e in entries if not e.is_dir()]
    images = [e for e in others if _is_named_like_an_image(e.name)]
    if len(images) < len(others):
        names = (e.name for e in others if not _is_named_like_an_image(e.name))
        print(f"{folder}: left out, not images by their names: {abbreviate(names)}")
    if no_files := [e.name for e in images if not e.is_file()]:
        raise InputError(
            f"{folder} holds what is named like an image but is no file (a broken link, a pipe, a "
            f"device): {abbreviate(no_files)}. Remove it."
        )
    if not images:
        instead = f" but the folders {abbreviate(folders)}" if folders else ""
        raise InputError(
            f"The class folder {folder} holds no images{instead}. Add images "
            f"({', '.join(IMAGE_SUFFIXES)}) or remove the folder."
        )
    if folders:
        print(f"{folder}: left out, folders inside of a class folder: {abbreviate(folders)}")
    return [e.name for e in images]


def has_images(folder: str) -> bool:
    """Whether an image lies right in a folder."""
    return any(_is_named_like_an_image(e.name) for e in _scan(folder))


def say_loose_images(folder: str) -> None:
    """Say which images lie beside class folders, where they belong to no class."""
    loose = [e.name for e in _scan(folder) if _is_named_like_an_image(e.name) and not e.is_dir()]
    if loose:
        print(f"{folder}: left out, images in no class folder: {abbreviate(sorted(loose))}")


def _is_named_like_an_image(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES)


def read_lines(path: str) -> list[str]:
    """The lines of a text file, stripped, without empty ones."""
    lines = io.StringIO(read_text(path), newline=None)
    return [line.strip() for line in lines if line.strip()]


def read_class_folders(
    folder: str,
    classes: Sequence[str] | None = None,
    class_names: Mapping[str, str] | None = None,
) -> list[Datum]:
    """The images in ``folder/CLASS``, labelled by the order of ``classes`` (all folders, sorted,
    where None); ``class_names`` renames a folder's class."""
    items = []
    say_loose_images(folder)
    for label, name in enumerate(list_classes(folder) if classes is None else classes):
        class_folder = os.path.join(folder, name)
        class_name = (class_names or {}).get(name, name)
        items += [
            Datum(impath=os.path.join(class_folder, image), label=label, classname=class_name)
            for image in list_images(class_folder)
        ]
    return items


def split_by_class(items: Iterable[Datum], train: float = 0.5, val: float = 0.2) -> Splits:
    """Shuffle each class and cut it into train, val and the rest, test (published: 50/20/30).

    Raises:
        InputError: a class has too few images for each part to get one.
    """
    source = random.Random(SPLIT_SEED)
    parts: Splits = Splits([], [], [])
    for of_class in _by_label(items):
        source.shuffle(of_class)
        first = round(len(of_class) * train)
        second = first + round(len(of_class) * val)
        for part, taken in zip(
            parts, (of_class[:first], of_class[first:second], of_class[second:]), strict=True
        ):
            if not taken:
                raise InputError(
                    f"Class {of_class[0].classname!r} has {len(of_class)} images, too few to split "
                    "into train, val and test. Add images, or give a split."
                )
            part.extend(taken)
    return parts


def split_validation(trainval: Iterable[Datum], val: float = 0.2) -> tuple[list, list]:
    """Shuffle each class and cut it into train and val, the latter first (published: 20% val)."""
    source = random.Random(SPLIT_SEED)
    train_items, val_items = [], []
    for of_class in _by_label(trainval):
        source.shuffle(of_class)
        cut = round(len(of_class) * val)
        val_items += of_class[:cut]
        train_items += of_class[cut:]
    return train_items, val_items


def _by_label(items: Iterable[Datum]) -> list[list[Datum]]:
    by_label: dict[int, list[Datum]] = defaultdict(list)
    for item in items:
        by_label[item.label].append(item)
    return [by_label[label] for label in sorted(by_label)]


def _scan(folder: str) -> list[os.DirEntry]:
    """What is in a folder, without hidden entries."""
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except FileNotFoundError as error:
        raise MissingError(f"The folder {folder} does not exist.") from error
    except NotADirectoryError as error:
        raise NotAFolderError(f"{folder} is a file; a folder is expected.") from error
    except PermissionError as error:
        raise NoPermissionError(f"No permission to list {folder}. Ask its owner.") from error
