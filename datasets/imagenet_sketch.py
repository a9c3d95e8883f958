"""ImageNet-Sketch: black-and-white sketches of ImageNet's classes."""

from __future__ import annotations

from dassl.data.datasets import DATASET_REGISTRY

from .few_shot import Splits
from .recipe import DRIVE, STATED, Piece, Recipe, Source, imagenet_class_names, on_mirror
from .synsets import SynsetDataset


@DATASET_REGISTRY.register()
class ImageNetSketch(SynsetDataset):
    """Test only."""

    dataset_dir = "imagenet-sketch"
    image_dir = "images"
    recipe = Recipe(
        classes=1000,
        test=50889,
        mirror=on_mirror("imagenet-sketch.zip"),
        pieces=(
            Piece(
                ("images",),
                (
                    Source(
                        "https://huggingface.co/datasets/songweig/imagenet_sketch/resolve/main/"
                        "data/ImageNet-Sketch.zip",
                        take={"sketch": "images"},
                        no_sum=STATED,
                    ),
                    Source(
                        DRIVE + "1Mj0i5HBthqH1p_yeXzsg22gZduvgoNeA",
                        take={"sketch": "images"},
                        sha256="4d3ce6b82a7c48aabf14aeac105eb533e75707f152cc858f55bfc022031a72ed",
                    ),
                ),
            ),
            imagenet_class_names(),
        ),
    )

    @classmethod
    def read(cls, dataset_dir: str) -> Splits:
        return Splits([], [], cls.read_images(dataset_dir, cls.image_dir))
