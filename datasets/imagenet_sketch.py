"""ImageNet-Sketch: black-and-white sketches of ImageNet's classes."""

from __future__ import annotations

from dassl.data.datasets import DATASET_REGISTRY

from .few_shot import Splits
from .recipe import MIRROR, Piece, Recipe, Source, imagenet_class_names
from .synsets import SynsetDataset


@DATASET_REGISTRY.register()
class ImageNetSketch(SynsetDataset):
    """Test only."""

    dataset_dir = "imagenet-sketch"
    image_dir = "images"
    recipe = Recipe(
        classes=1000,
        test=50889,
        mirror=MIRROR + "imagenet-sketch.zip",
        pieces=(
            Piece(
                ("images",),
                (
                    Source(
                        "https://huggingface.co/datasets/songweig/imagenet_sketch/resolve/main/"
                        "data/ImageNet-Sketch.zip",
                        take={"sketch": "images"},
                    ),
                ),
            ),
            imagenet_class_names(),
        ),
    )

    @classmethod
    def read(cls, dataset_dir: str) -> Splits:
        return Splits([], [], cls.read_images(dataset_dir, cls.image_dir))
