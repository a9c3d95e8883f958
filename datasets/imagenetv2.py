"""ImageNetV2 (matched frequency): new test images for ImageNet's classes."""

from __future__ import annotations

import os

from dassl.data.datasets import DATASET_REGISTRY, Datum

from .errors import InputError
from .few_shot import Splits
from .folders import list_classes, list_images
from .recipe import Piece, Recipe, Source, imagenet_class_names, on_mirror
from .splits import abbreviate
from .synsets import SynsetDataset, read_class_names

IMAGES = "imagenetv2-matched-frequency-format-val"


@DATASET_REGISTRY.register()
class ImageNetV2(SynsetDataset):
    """Test only.  Its folders are numbers, 0 to 999: positions in classnames.txt."""

    dataset_dir = "imagenetv2"
    image_dir = IMAGES
    recipe = Recipe(
        classes=1000,
        test=10000,
        mirror=on_mirror("imagenetv2.zip"),
        pieces=(
            Piece(
                (IMAGES,),
                (
                    Source(
                        "https://huggingface.co/datasets/vaishaal/ImageNetV2/resolve/main/"
                        "imagenetv2-matched-frequency.tar.gz",
                        take={IMAGES: IMAGES},
                        sha256="f0c37fdf925916b19ea1323cd9a2208cdb6959ba2c32eef2a7fc393835c9ca7c",
                    ),
                ),
            ),
            imagenet_class_names(),
        ),
    )

    @classmethod
    def read(cls, dataset_dir: str) -> Splits:
        folder = os.path.join(dataset_dir, IMAGES)
        names = list(read_class_names(dataset_dir).values())
        folders = list_classes(folder)
        if strange := [n for n in folders if not n.isdecimal() or int(n) >= len(names)]:
            raise InputError(
                f"{folder} holds {abbreviate(strange)}; expected are folders 0 to {len(names) - 1}, "
                "positions in classnames.txt. Remove what does not belong there, or take the published "
                "classnames.txt."
            )
        labels = sorted(map(int, folders))
        items = [
            Datum(impath=f"{folder}/{label}/{image}", label=label, classname=names[label])
            for label in labels
            for image in list_images(os.path.join(folder, str(label)))
        ]
        return Splits([], [], items)
