"""What ImageNet and its variants share: class names by synset, and a kept listing of folders."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path

from dassl.data.datasets import Datum

from .class_names import has_control_character
from .errors import InputError, MissingError
from .few_shot import FewShotDataset
from .files import alone, read_text, remove_leftovers, write_json
from .folders import list_classes, list_images, read_lines
from .splits import abbreviate

SYNSET_LINE = re.compile(r"(n[0-9]{8})[ \t]+(\S.*)")
FETCH = "`python -m datasets.download ImageNet --root DATA` fetches the published one."


class SynsetDataset(FewShotDataset):
    """Images in one folder a synset, read from the folders; labels follow the sorted folders."""

    images_are_listed = True
    unique_class_names = False
    """Two pairs of ImageNet's classes share a name (missile, sunglasses)."""

    @classmethod
    def read_images(cls, dataset_dir: str, image_dir: str, keep_listing: bool = False) -> list:
        """All images under ``image_dir``, a path inside ``dataset_dir``, as Datum."""
        folder = os.path.join(dataset_dir, image_dir)
        images = kept_listing(folder) if keep_listing else list_folder(folder)
        names = read_class_names(dataset_dir)
        if unnamed := [synset for synset in images if synset not in names]:
            raise InputError(
                f"classnames.txt does not name these folders of {folder}: {abbreviate(unnamed)}. "
                "Remove them, or take the published classnames.txt."
            )
        return [
            Datum(impath=f"{folder}/{synset}/{image}", label=label, classname=names[synset])
            for label, (synset, of_class) in enumerate(images.items())
            for image in of_class
        ]


def read_class_names(dataset_dir: str) -> dict[str, str]:
    """Class name by synset, in the order of classnames.txt (lines ``n01440764 tench``), which is
    looked for in the dataset's folder and in imagenet/ beside it."""
    beside = os.path.join(os.path.dirname(dataset_dir), "imagenet")
    for folder in (dataset_dir, beside):
        path = os.path.join(folder, "classnames.txt")
        if os.path.isfile(path):
            return _parse_class_names(path)
    raise MissingError(f"No classnames.txt in {dataset_dir} or {beside}. {FETCH}")


def _parse_class_names(path: str) -> dict[str, str]:
    names = {}
    for line in read_lines(path):
        if not (match := SYNSET_LINE.fullmatch(line)):
            raise InputError(
                f"{path}: the line {line!r} is no synset with a name behind it. Lines are like "
                f"'n01440764 tench', in the order of the synsets. {FETCH}"
            )
        if has_control_character(match[2]):
            raise InputError(
                f"{path}: the line {line!r} has a tab or another control character within the name: "
                f"put one synset with its name on a line. {FETCH}"
            )
        if names.setdefault(match[1], match[2]) != match[2]:
            raise InputError(
                f"{path} names {match[1]} twice, {names[match[1]]!r} and {match[2]!r}: keep one. "
                f"{FETCH}"
            )
    if list(names) != sorted(names):
        raise InputError(f"{path} is not in the order of the synsets, which labels follow. {FETCH}")
    return names


def list_folder(folder: str) -> dict[str, list[str]]:
    """Sorted image names by sorted class folder."""
    return {name: list_images(os.path.join(folder, name)) for name in list_classes(folder)}


def kept_listing(folder: str) -> dict[str, list[str]]:
    """`list_folder`, kept in the user's cache folder: listing ImageNet's 1.3 million files takes
    minutes on a network share.  A class folder that changed since is noticed by its modification
    time; a cache that cannot be read or written is done without."""
    times = {name: os.stat(os.path.join(folder, name)).st_mtime_ns for name in list_classes(folder)}
    key = hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()[:16]
    path = cache_dir() / f"listing-{key}.json"
    try:
        kept = json.loads(read_text(path))
        if kept["times"] == times and list(kept["images"]) == list(times):
            return kept["images"]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    images = list_folder(folder)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with alone(path.parent):
            remove_leftovers(path.parent)
            write_json({"folder": folder, "times": times, "images": images}, path)
    except OSError as error:
        print(f"The listing of {folder} is not kept for the next run: {error}")
    return images


def cache_dir() -> Path:
    """The user's cache folder for listings: $XDG_CACHE_HOME or ~/.cache, prompt_learning."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "prompt_learning"
