"""What all datasets share: reading a split, drawing shots, halving the classes.

The order matters for the numbers and follows the published code: the shots are drawn over all
classes, and the classes are halved afterwards.  Nothing is ever written into the data root.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any, ClassVar

from dassl.data.datasets import DatasetBase, Datum

from .draws import LINEAR_PROBE, draw_of_run, write_record
from .errors import InputError, MissingError, NoPermissionError, NotAFolderError
from .recipe import Recipe
from .splits import Splits, abbreviate, check_classes, check_images, read_split, require_images

CLASS_SUBSETS = ("all", "base", "new")


class FewShotDataset(DatasetBase):
    """A dataset in the folder layout that CoOp introduced; a subclass says what is particular.

    A subclass sets the class attributes and, where its split file may be missing, overrides
    `make_split`; one without a split file overrides `read`.

    The configuration gives DATASET.ROOT, DATASET.NUM_SHOTS (below 1: all images), DATASET.DRAW (how
    they are drawn, see `draws.DRAWS`), DATASET.SUBSAMPLE_CLASSES ("all" | "base" | "new") and SEED.
    The draw is a function of SEED alone and leaves the random states as they were; only with a negative
    SEED is it taken from them.

    Raises:
        InputError: the root, the dataset's folder, its split or an image is missing or cannot be
            read, or the split cannot be used (see `look_over`).
    """

    dataset_dir: str = ""
    """Folder under the data root; on an instance, its full path."""
    image_dir: str = ""
    """Folder of the images inside `dataset_dir`; on an instance, its full path."""
    split_file: ClassVar[str] = ""
    """Name of the split file inside `dataset_dir`; empty where the layout has none."""
    unique_class_names: ClassVar[bool] = True
    """False where published names are the same for several classes, which then is only said."""
    own_pictures: ClassVar[bool] = False
    """True for people's own pictures, which are held to stricter rules than published splits."""
    images_are_listed: ClassVar[bool] = False
    """True where `read` lists folders itself, so that no image it returns can be missing."""
    recipe: ClassVar[Recipe | None] = None
    """How to download the dataset, and the counts that it has when complete."""

    test_only: bool = False
    """Whether there are no training images.  Dassl takes the classes from ``train_x``, which then
    holds the test images, so a trainer has to look here before it trains."""

    def __init__(self, cfg: Any) -> None:
        name, folder = type(self).__name__, self.dataset_dir
        self.dataset_dir = find_dataset_dir(cfg.DATASET.ROOT, folder, name)
        self.image_dir = os.path.join(self.dataset_dir, self.image_dir)
        self.set_up(cfg, self.load(self.dataset_dir))

    @classmethod
    def load(cls, dataset_dir: str) -> Splits:
        """`read`, with every list that turns out to be damaged told as such.

        Raises:
            InputError: something is missing, or is not of the form that the layout has.
        """
        try:
            return cls.read(dataset_dir)
        except InputError:
            raise
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise InputError(
                f"{cls.__name__}: the lists of images in {dataset_dir} cannot be read "
                f"({type(error).__name__}: {error}). {cls.advice()}"
            ) from error

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
            reason, root = str(error).rstrip("."), os.path.dirname(dataset_dir)
            raise MissingError(
                f"{cls.__name__} has no {cls.split_file} in {dataset_dir}, and none can be made: "
                f"{reason}. Fetch it by `python -m datasets.download {cls.__name__} --root {root}`."
            ) from error

    @classmethod
    def make_split(cls, dataset_dir: str, image_dir: str) -> Splits:
        """The split for people who have no split file; the same on every machine and run."""
        raise NotImplementedError

    @classmethod
    def advice(cls) -> str:
        """What to do about images or lists that are missing."""
        if cls.recipe is None:
            return "Put back what is missing."
        return f"`python -m datasets.check {cls.__name__} --root DATA` says what to do."

    @classmethod
    def look_over(cls, splits: Splits, dataset_dir: str) -> list[str]:
        """Hold the images to the rules that all readers share; files are not looked for on disk.

        Returns:
            What there is to say about them.

        Raises:
            InputError: as `check_classes` and `check_images`, or there are no test images.
        """
        name = cls.__name__
        remarks = check_classes(splits, name, cls.unique_class_names)
        there = len({item.label for part in splits for item in part or ()})
        if cls.recipe and there != cls.recipe.classes:
            remarks.append(
                f"{there} of {cls.recipe.classes} classes are here, so that accuracies do not compare "
                f"with published ones. {cls.advice()}"
            )
        if not cls.images_are_listed:
            remarks += check_images(splits, name, dataset_dir, cls.own_pictures)
        if not splits.test:
            raise InputError(f"{name}: there are no test images. A run ends with a test: add some.")
        return remarks

    def set_up(self, cfg: Any, splits: Splits) -> None:
        """Look over the images, draw the shots, halve the classes and hand the result to Dassl."""
        name, shots = type(self).__name__, cfg.DATASET.NUM_SHOTS
        for remark in self.look_over(splits, self.dataset_dir):
            print(f"{name}: {remark}")
        if not self.images_are_listed:
            require_images(splits, self.image_dir, name, self.advice())
        if os.path.isdir(os.path.join(self.dataset_dir, "split_fewshot")):
            print(f"{name}: leaving the split_fewshot folder alone, shots are drawn anew each time")
        train, val, test = splits
        if val is None and cfg.DATASET.get("DRAW") == LINEAR_PROBE:
            val = test  # which that code draws its validation images from
        self.test_only, test_as_val = not train, val is None
        if shots >= 1 and not self.test_only:
            train, val = draw_of_run(cfg, train, val, self.image_dir)
        subset = cfg.DATASET.get("SUBSAMPLE_CLASSES", "all")
        train, val, test = halve_classes(subset, train or test, val or [], test)
        if not test:
            names = abbreviate(dict.fromkeys(item.classname for item in train))
            raise InputError(f"{name}: there are no test images of the {subset} classes, {names}.")
        if shots >= 1 and not self.test_only:
            write_record(cfg, train, val, self.image_dir)
        super().__init__(train_x=train, val=test if test_as_val else val, test=test)


def find_dataset_dir(root: str, folder: str, name: str) -> str:
    """Full path of ``folder`` under the data root, or an error that says what to do."""
    if not root:
        raise MissingError(
            f"No data root given: {name} is looked for in ROOT/{folder}. "
            "Pass --root ROOT (or set DATASET.ROOT)."
        )
    root = os.path.abspath(os.path.expanduser(root))
    if not os.path.lexists(root):
        raise MissingError(f"The data root {root} does not exist. Pass --root FOLDER.")
    if not os.path.isdir(root):
        raise NotAFolderError(
            f"The data root {root} is not a folder. Pass --root the folder that holds {folder}/."
        )
    path = os.path.join(root, folder)
    if not os.path.lexists(path):
        raise MissingError(
            f"{name} is expected in {path}, which does not exist. Put it there, or run "
            f"`python -m datasets.download {name} --root {root}`."
        )
    if not os.path.isdir(path):
        raise NotAFolderError(f"{name} is expected in {path}, which is not a folder.")
    if not os.access(path, os.R_OK | os.X_OK):
        raise NoPermissionError(
            f"No permission to read {path}. Ask its owner, or use another copy."
        )
    return path


def halve_classes(subset: str, *sources: Sequence[Datum]) -> list[list[Datum]]:
    """Keep the base classes (the first ceil(C/2) labels of the first source) or the new ones (the
    rest), relabelled from 0; "all" keeps everything.

    Raises:
        InputError: ``subset`` is something else, or no class is left.
    """
    if subset not in CLASS_SUBSETS:
        raise InputError(
            f"DATASET.SUBSAMPLE_CLASSES is {subset!r}; expected one of {', '.join(CLASS_SUBSETS)}."
        )
    if subset == "all":
        return [list(source) for source in sources]
    labels = sorted({item.label for item in sources[0]})
    middle = math.ceil(len(labels) / 2)
    kept = labels[:middle] if subset == "base" else labels[middle:]
    if not kept:
        raise InputError(f"{len(labels)} class cannot be halved: no {subset} classes are left.")
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
