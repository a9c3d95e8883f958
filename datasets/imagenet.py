"""ImageNet (ILSVRC 2012)."""

from __future__ import annotations

import os

from dassl.data.datasets import DATASET_REGISTRY

from .errors import InputError
from .few_shot import Splits
from .folders import list_classes
from .ilsvrc import TrainImages, ValImages
from .recipe import Recipe, imagenet_class_names
from .splits import abbreviate
from .synsets import SynsetDataset


@DATASET_REGISTRY.register()
class ImageNet(SynsetDataset):
    """The published validation images are the test set, and serve for validation too.

    The published draw followed the order in which the file system lists a folder; here the
    listing is sorted, so that a seed draws the same images everywhere.
    """

    dataset_dir = "imagenet"
    image_dir = "images"
    recipe = Recipe(
        classes=1000,
        train=1281167,
        test=50000,
        pieces=(
            TrainImages(),
            ValImages(),
            imagenet_class_names(),
        ),
    )

    @classmethod
    def read(cls, dataset_dir: str) -> Splits:
        parts = ("images/train", "images/val")
        # the labels of all classes behind one that is missing in a part would be shifted in it
        in_train, in_val = (set(list_classes(os.path.join(dataset_dir, part))) for part in parts)
        if differing := sorted(in_train ^ in_val):
            raise InputError(
                f"ImageNet: only one of {' and '.join(parts)} in {dataset_dir} has the classes "
                f"{abbreviate(differing)}. {cls.advice()}"
            )
        train, val = (cls.read_images(dataset_dir, part, keep_listing=True) for part in parts)
        return Splits(train, None, val)
