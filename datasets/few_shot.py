"""What all datasets share: reading a split, drawing shots, halving the classes.

The order matters for the numbers and follows the published code: the shots are drawn over all
classes, and the classes are halved afterwards.  Nothing is ever written into the data root.
"""

from __future__ import annotations

import json
import math
import os
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, NamedTuple

from dassl.data.datasets import DatasetBase, Datum

from .files import write_json
from .recipe import Recipe

CLASS_SUBSETS = ("all", "base", "new")
VALIDATION_SHOTS = 4
NAMED_IN_MESSAGES = 3


class Splits(NamedTuple):
    """The images of a dataset: an empty ``train`` marks a test-only set, ``val`` None means that
    the whole test set serves for validation (as it does for ImageNet)."""

    train: list[Datum]
    val: list[Datum] | None
    test: list[Datum]


class FewShotDataset(DatasetBase):
    """A dataset in the folder layout that CoOp introduced; a subclass says what is particular.

    A subclass sets the class attributes and, where its split file may be missing, overrides
    `make_split`; one without a split file overrides `read`.

    The configuration gives DATASET.ROOT, DATASET.NUM_SHOTS (below 1: all images),
    DATASET.SUBSAMPLE_CLASSES ("all" | "base" | "new") and SEED.  The draw is a function of
    SEED alone and leaves Python's random state as it was; only with a negative SEED is it taken
    from that state.

    Raises:
        FileNotFoundError: the root, the dataset's folder, its split or an image is missing.
        NotADirectoryError: the root or the dataset's folder is a file.
        PermissionError: a folder cannot be listed.
        ValueError: the split cannot be used (see `check_classes`).
    """

    dataset_dir: str = ""
    """Folder under the data root; on an instance, its full path."""
    image_dir: str = ""
    """Folder of the images inside `dataset_dir`; on an instance, its full path."""
    split_file: ClassVar[str] = ""
    """Name of the split file inside `dataset_dir`; empty where the layout has none."""
    unique_class_names: ClassVar[bool] = True
    images_are_listed: ClassVar[bool] = False
    """True where `read` lists folders itself, so that no image it returns can be missing."""
    recipe: ClassVar[Recipe | None] = None
    """How to download the dataset, and the counts that it has when complete."""

    def __init__(self, cfg: Any) -> None:
        name, folder = type(self).__name__, self.dataset_dir
        self.dataset_dir = find_dataset_dir(cfg.DATASET.ROOT, folder, name)
        self.image_dir = os.path.join(self.dataset_dir, self.image_dir)
        splits = self.read(self.dataset_dir)
        if not self.images_are_listed:
            require_images(splits, self.image_dir, name)
        self.set_up(cfg, splits)

    @classmethod
    def read(cls, dataset_dir: str) -> Splits:
        """All images of the dataset in ``dataset_dir``, from its split file or, without one, from
        a split made the way the published code makes it; images are not looked for on disk."""
        image_dir = os.path.join(dataset_dir, cls.image_dir)
        path = os.path.join(dataset_dir, cls.split_file)
        if os.path.isfile(path):
            return read_split(path, image_dir)
        print(f"{cls.__name__}: no {cls.split_file} in {dataset_dir}, making a split of our own")
        try:
            return cls.make_split(dataset_dir, image_dir)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{cls.__name__} has no {cls.split_file} in {dataset_dir}, and none can be made: "
                f"{error}. Fetch it by `python -m datasets.download {cls.__name__} --root "
                f"{os.path.dirname(dataset_dir)}`."
            ) from error

    @classmethod
    def make_split(cls, dataset_dir: str, image_dir: str) -> Splits:
        """The split for people who have no split file; the same on every machine and run."""
        raise NotImplementedError

    def set_up(self, cfg: Any, splits: Splits) -> None:
        """Check the classes, draw the shots, halve the classes and hand the result to Dassl."""
        name, shots = type(self).__name__, cfg.DATASET.NUM_SHOTS
        check_classes(splits, name, self.unique_class_names)
        if os.path.isdir(os.path.join(self.dataset_dir, "split_fewshot")):
            print(f"{name}: leaving the split_fewshot folder alone, shots are drawn anew each time")
        train, val, test = splits
        if train and shots >= 1:
            train, val = draw_shots(train, val, shots, cfg.SEED, name)
        subset = cfg.DATASET.get("SUBSAMPLE_CLASSES", "all")
        test_only, test_as_val = not train, val is None
        train, val, test = halve_classes(subset, train or test, val or [], test)
        if shots >= 1 and not test_only:
            write_draw(cfg, train, val, self.image_dir)
        super().__init__(train_x=train, val=test if test_as_val else val, test=test)


def find_dataset_dir(root: str, folder: str, name: str) -> str:
    """Full path of ``folder`` under the data root, or an error that says what to do."""
    if not root:
        raise FileNotFoundError(
            f"No data root given: {name} is looked for in ROOT/{folder}. "
            "Pass --root ROOT (or set DATASET.ROOT)."
        )
    root = os.path.abspath(os.path.expanduser(root))
    if not os.path.lexists(root):
        raise FileNotFoundError(f"The data root {root} does not exist. Pass --root FOLDER.")
    if not os.path.isdir(root):
        raise NotADirectoryError(
            f"The data root {root} is not a folder. Pass --root the folder that holds {folder}/."
        )
    path = os.path.join(root, folder)
    if not os.path.lexists(path):
        raise FileNotFoundError(
            f"{name} is expected in {path}, which does not exist. Put it there, or run "
            f"`python -m datasets.download {name} --root {root}`."
        )
    if not os.path.isdir(path):
        raise NotADirectoryError(f"{name} is expected in {path}, which is not a folder.")
    if not os.access(path, os.R_OK | os.X_OK):
        raise PermissionError(f"No permission to read {path}. Ask its owner, or use another copy.")
    return path


def read_split(path: str, image_dir: str) -> Splits:
    """Read a split file: JSON with train, val and test, each a list of
    ``[path relative to image_dir, label, class name]``.

    Raises:
        ValueError: the file is not of that form.
    """
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
        return Splits(
            *(
                [
                    Datum(impath=os.path.join(image_dir, image), label=int(label), classname=name)
                    for image, label, name in content[part]
                ]
                for part in ("train", "val", "test")
            )
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is not a split file ({type(error).__name__}: {error}). Expected is JSON with "
            "train, val and test, each a list of [image path, label, class name]."
        ) from error


def find_missing(items: Iterable[Datum]) -> list[str]:
    """Paths of the items' images that are not on disk, in order.  Lists each folder once, which
    costs little on network shares where asking for each file would not.

    Raises:
        PermissionError: a folder cannot be listed.
    """
    present: dict[str, set[str]] = {}
    missing = []
    for item in items:
        folder, file = os.path.split(item.impath)
        if folder not in present:
            try:
                present[folder] = set(os.listdir(folder))
            except (FileNotFoundError, NotADirectoryError):
                present[folder] = set()
            except PermissionError as error:
                raise PermissionError(
                    f"No permission to list {folder}. Ask its owner, or use another copy."
                ) from error
        if file not in present[folder]:
            missing.append(item.impath)
    return missing


def require_images(splits: Splits, image_dir: str, name: str) -> None:
    """Raise FileNotFoundError naming the first images of ``splits`` that are not on disk."""
    missing = find_missing(item for part in splits for item in part or ())
    if missing:
        raise FileNotFoundError(
            f"{name}: {len(missing)} of the images in its split are not in {image_dir}: "
            f"{abbreviate(os.path.relpath(path, image_dir) for path in missing)}. "
            f"`python -m datasets.check {name} --root DATA` says what to do."
        )


def check_classes(splits: Splits, name: str, unique_names: bool = True) -> None:
    """Refuse class labels and names from which no classifier can be built.

    Raises:
        ValueError: there are no images, the labels are not 0..C-1 without a gap, val or test holds
            a class that train does not, a label has two names, or (``unique_names``) two labels
            share a name.
    """
    seen: dict[int, set[str]] = defaultdict(set)
    for part in splits:
        for item in part or ():
            seen[item.label].add(item.classname)
    first = {item.label for item in splits.train or splits.test}
    if not first:
        raise ValueError(f"{name}: the split holds no images to train on or to test.")
    if min(seen) < 0:
        raise ValueError(f"{name}: labels start at 0, but the split has {min(seen)}.")
    if gaps := sorted((seen.keys() | range(len(seen))) - first):
        raise ValueError(
            f"{name}: labels must run from 0 to {max(seen)} without a gap, and each class needs "
            f"training images; labels without: {abbreviate(gaps)}."
        )
    for label, names in sorted(seen.items()):
        if len(names) > 1:
            raise ValueError(f"{name}: label {label} has several class names: {sorted(names)}.")
    counts = Counter(next(iter(names)) for names in seen.values())
    if unique_names and (twice := [each for each, count in counts.items() if count > 1]):
        labels = [label for label, names in sorted(seen.items()) if twice[0] in names]
        raise ValueError(
            f"{name}: labels {labels} are all called {twice[0]!r}. Each class needs a name of its "
            "own, since the name is all that a prompt knows of it."
        )


def draw_shots(
    train: Sequence[Datum], val: Sequence[Datum] | None, shots: int, seed: int, name: str
) -> tuple[list[Datum], list[Datum] | None]:
    """Draw ``shots`` training and min(shots, 4) validation images per class, as published: train
    first, classes in order of first appearance, from the state that ``random.seed(seed)`` leaves.

    A class with fewer images is used as it is.  The global random state is used, and changed,
    only where ``seed`` is negative; ``val`` None stays None.
    """
    source = random.Random(seed) if seed >= 0 else random
    few = {c: n for c, n in Counter(i.classname for i in train).items() if n < shots}
    if few:
        print(
            f"{name}: {len(few)} classes have fewer than {shots} training images and are used as "
            f"they are: {abbreviate(f'{c} ({n})' for c, n in few.items())}"
        )

    def draw(items: Sequence[Datum], count: int) -> list[Datum]:
        by_label: dict[int, list[Datum]] = defaultdict(list)
        for item in items:
            by_label[item.label].append(item)
        drawn: list[Datum] = []
        for of_class in by_label.values():
            drawn += source.sample(of_class, count) if len(of_class) >= count else of_class
        return drawn

    drawn = draw(train, shots)
    return drawn, None if val is None else draw(val, min(shots, VALIDATION_SHOTS))


def halve_classes(subset: str, *sources: Sequence[Datum]) -> list[list[Datum]]:
    """Keep the base classes (the first ceil(C/2) labels of the first source) or the new ones (the
    rest), relabelled from 0; "all" keeps everything.

    Raises:
        ValueError: ``subset`` is something else, or no class is left.
    """
    if subset not in CLASS_SUBSETS:
        raise ValueError(
            f"DATASET.SUBSAMPLE_CLASSES is {subset!r}; expected one of {', '.join(CLASS_SUBSETS)}."
        )
    if subset == "all":
        return [list(source) for source in sources]
    labels = sorted({item.label for item in sources[0]})
    middle = math.ceil(len(labels) / 2)
    kept = labels[:middle] if subset == "base" else labels[middle:]
    if not kept:
        raise ValueError(f"{len(labels)} class cannot be halved: no {subset} classes are left.")
    new_label = {label: position for position, label in enumerate(kept)}
    return [
        [
            Datum(
                impath=item.impath,
                label=new_label[item.label],
                domain=item.domain,
                classname=item.classname,
            )
            for item in source
            if item.label in new_label
        ]
        for source in sources
    ]


def write_draw(cfg: Any, train: list[Datum], val: list[Datum], image_dir: str) -> None:
    """Keep the draw beside the run's log, in the form of a split file, for people to look at.

    It goes to ``few_shot_NAME_SUBSET_Kshots_seedS.json`` in OUTPUT_DIR where that folder exists
    (train.py makes it); nothing reads it back.
    """
    if not os.path.isdir(cfg.OUTPUT_DIR):
        return
    content = {
        part: [[os.path.relpath(i.impath, image_dir), i.label, i.classname] for i in items]
        for part, items in (("train", train), ("val", val))
    }
    options = cfg.DATASET
    subset = options.get("SUBSAMPLE_CLASSES", "all")
    name = f"few_shot_{options.NAME}_{subset}_{options.NUM_SHOTS}shots_seed{cfg.SEED}.json"
    write_json(content, os.path.join(cfg.OUTPUT_DIR, name))


def abbreviate(things: Iterable[Any]) -> str:
    """The first few of ``things``, and how many more there are."""
    names = [str(thing) for thing in things]
    rest = len(names) - NAMED_IN_MESSAGES
    return ", ".join(names[:NAMED_IN_MESSAGES]) + (f" and {rest} more" if rest > 0 else "")
