"""The images of a dataset, and the rules that every reader's images are held to."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, NamedTuple

from dassl.data.datasets import Datum

from .class_names import find_alike, has_control_character, seen_by_clip
from .errors import InputError, MissingError, NoPermissionError
from .files import read_text

PARTS = ("train", "val", "test")
_PART_NAMES = {"train": "train", "test": "test"} | dict.fromkeys(
    ("val", "valid", "validation"), "val"
)
NAMED_IN_MESSAGES = 3


class Splits(NamedTuple):
    """The images of a dataset: an empty ``train`` marks a test-only set, ``val`` None means that
    the whole test set serves for validation (as it does for ImageNet)."""

    train: list[Datum]
    val: list[Datum] | None
    test: list[Datum]


def part_of(name: str) -> str | None:
    """Which of train, val and test people mean by a name; None where it is none of them."""
    return _PART_NAMES.get(name.lower())


def read_split(path: str, image_dir: str) -> Splits:
    """Read a split file: JSON with train, val and test, each a list of
    ``[path relative to image_dir, label, class name]``.

    Raises:
        InputError: the file is not of that form.
    """
    text = read_text(path)
    try:
        content = json.loads(text)
        return Splits(*([_read_row(row, image_dir) for row in content[part]] for part in PARTS))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"{path} is not a split file ({type(error).__name__}: {error}). Expected is JSON with "
            "train, val and test, each a list of [image path, label, class name]."
        ) from error


def _read_row(row: Any, image_dir: str) -> Datum:
    image, label, name = checked_row(row)
    return Datum(impath=os.path.join(image_dir, image), label=label, classname=name)


def checked_row(row: Any) -> tuple[str, int, str]:
    """A row of a list of images: path, label and class name.

    Raises:
        ValueError: it is anything else.
    """
    if isinstance(row, list) and len(row) == 3:
        image, label, name = row
        if image and isinstance(image, str) and type(label) is int and isinstance(name, str):
            return image, label, name
    raise ValueError(f"{json.dumps(row)[:200]} is no [image path, label, class name]")


def find_missing(items: Iterable[Datum]) -> list[str]:
    """Paths of the items' images that are not files on disk, in order.  Lists each folder once,
    which costs little on network shares where asking for each file would not.

    Raises:
        NoPermissionError: a folder cannot be listed.
    """
    present: dict[str, set[str]] = {}
    missing = []
    for item in items:
        folder, file = os.path.split(item.impath)
        if folder not in present:
            try:
                with os.scandir(folder) as entries:
                    present[folder] = {entry.name for entry in entries if entry.is_file()}
            except (FileNotFoundError, NotADirectoryError):
                present[folder] = set()
            except PermissionError as error:
                raise NoPermissionError(
                    f"No permission to list {folder}. Ask its owner, or use another copy."
                ) from error
        if file not in present[folder]:
            missing.append(item.impath)
    return missing


def require_images(splits: Splits, image_dir: str, name: str, advice: str) -> None:
    """Raise MissingError naming the first images of ``splits`` that are not on disk."""
    missing = find_missing(item for part in splits for item in part or ())
    if missing:
        raise MissingError(
            f"{name}: {len(missing)} of the images in its split are not in {image_dir}: "
            f"{abbreviate(os.path.relpath(path, image_dir) for path in missing)}. {advice}"
        )


def check_classes(splits: Splits, name: str, unique_names: bool = True) -> list[str]:
    """Refuse class labels and names from which no classifier can be built.

    Returns:
        What there is to say about classes that cannot be told apart but are not refused.

    Raises:
        InputError: there are no images, the labels are not 0..C-1 without a gap, val or test holds
            a class that train does not, a label has two names, an empty one or one with control
            characters, or (``unique_names``) two names are the same to the text encoder.
    """
    seen: dict[int, set[str]] = defaultdict(set)
    for part in splits:
        for item in part or ():
            seen[item.label].add(item.classname)
    first = {item.label for item in splits.train or splits.test}
    if not first:
        raise InputError(f"{name}: the split holds no images to train on or to test.")
    if min(seen) < 0:
        raise InputError(f"{name}: labels start at 0, but the split has {min(seen)}.")
    if gaps := sorted((seen.keys() | range(len(seen))) - first):
        which = "training" if splits.train else "test"
        named = (f"{gap} {sorted(seen[gap])}" if gap in seen else gap for gap in gaps)
        raise InputError(
            f"{name}: labels must run from 0 to {max(seen)} without a gap, and each class needs "
            f"{which} images; labels without: {abbreviate(named)}."
        )
    for label, names in sorted(seen.items()):
        if len(names) > 1:
            raise InputError(f"{name}: label {label} has several class names: {sorted(names)}.")
    names = [seen[label].pop() for label in sorted(seen)]
    if empty := [label for label, each in enumerate(names) if not seen_by_clip(each)]:
        raise InputError(
            f"{name}: label {empty[0]} has an empty class name, {names[empty[0]]!r}. Each class "
            "needs a name, since the name is all that a prompt knows of it."
        )
    if controls := [label for label, each in enumerate(names) if has_control_character(each)]:
        raise InputError(
            f"{name}: the name of label {controls[0]}, {names[controls[0]]!r}, holds a tab, a line "
            "break or another control character. Give it a name in printable characters, and in a "
            "list of names one a line."
        )
    alike = find_alike(names)
    if not alike:
        return []
    named = abbreviate(
        f"{' and '.join(repr(names[label]) for label in labels)} (labels {labels})"
        for labels in alike
    )
    said = f"to the text encoder, which reads _ as a blank and ignores case, these are one: {named}"
    if unique_names:
        raise InputError(f"{name}: {said}. Make these classes one, or give them other names.")
    return [f"{said}. The published names are kept."]


def check_images(splits: Splits, name: str, folder: str, own: bool) -> list[str]:
    """Hold the images' paths to what a benchmark needs.  People's ``own`` lists may name images
    anywhere, but no image twice; published ones are kept to the dataset's folder, and what is
    doubtful in them is said.

    Returns:
        What there is to say.

    Raises:
        InputError: a published list names images outside of ``folder``; or an own one names an
            image under two classes, or a training image in val or test.
    """
    home = os.path.normcase(os.path.abspath(folder))
    within = home.rstrip(os.sep) + os.sep
    listed, places = [], defaultdict(list)
    real = cache(os.path.realpath)
    for part, item in _with_parts(splits):
        path = os.path.normcase(os.path.abspath(item.impath))
        listed.append(path)
        # an image is one however it is reached
        same = os.path.join(real(os.path.dirname(path)), os.path.basename(path))
        places[real(same) if own and os.path.islink(same) else same].append((part, item))

    def relative(paths: Iterable[str]) -> str:
        return abbreviate(os.path.relpath(path, home) for path in paths)

    remarks = []
    if outside := [path for path in dict.fromkeys(listed) if not path.startswith(within)]:
        said = f"{len(outside)} images lie outside of {folder}: {relative(outside)}"
        if not own:
            raise InputError(
                f"{name}: {said}. A published split names images of the dataset only: fetch it again."
            )
        remarks.append(f"{said}.")
    repeated = {path: found for path, found in places.items() if len(found) > 1}
    mistakes = {
        "images have several classes": [
            path for path, found in repeated.items() if len({item.label for _, item in found}) > 1
        ],
        "training images are in val or test too": [
            path
            for path, found in repeated.items()
            if len(parts := {part for part, _ in found}) > 1 and "train" in parts
        ],
    }
    for mistake, paths in mistakes.items():
        said = f"{len(paths)} {mistake}: {relative(paths)}."
        if paths and own:
            raise InputError(
                f"{name}: {said} List each image once; several labels an image are not supported."
            )
        if paths:
            remarks.append(said)
    tested = {item.label for item in splits.test}
    if own and (untested := sorted({i.classname for i in splits.train if i.label not in tested})):
        remarks.append(f"no test images of {abbreviate(untested)}: no accuracy is of them.")
    if not any(mistakes.values()) and repeated:
        remarks.append(f"{len(repeated)} images are listed more than once: {relative(repeated)}.")
    return remarks


def _with_parts(splits: Splits) -> Iterator[tuple[str, Datum]]:
    for part, items in zip(PARTS, splits, strict=True):
        for item in items or ():
            yield part, item


def abbreviate(things: Iterable[Any]) -> str:
    """The first few of ``things``, and how many more there are."""
    names = [str(thing) for thing in things]
    rest = len(names) - NAMED_IN_MESSAGES
    return ", ".join(names[:NAMED_IN_MESSAGES]) + (f" and {rest} more" if rest > 0 else "")
