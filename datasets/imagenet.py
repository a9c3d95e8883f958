"""ImageNet (ILSVRC 2012)."""

from __future__ import annotations

from dassl.data.datasets import DATASET_REGISTRY

from .few_shot import Splits
from .ilsvrc import TrainImages, ValImages
from .recipe import Recipe, imagenet_class_names
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
        train = cls.read_images(dataset_dir, "images/train", keep_listing=True)
        return Splits(train, None, cls.read_images(dataset_dir, "images/val", keep_listing=True))
