"""ImageNet-A: natural images that fool classifiers, for 200 of ImageNet's classes."""

from __future__ import annotations

from dassl.data.datasets import DATASET_REGISTRY

from .few_shot import Splits
from .recipe import Piece, Recipe, Source, imagenet_class_names, on_mirror
from .synsets import SynsetDataset


@DATASET_REGISTRY.register()
class ImageNetA(SynsetDataset):
    """Test only.  Labels 0 to 199 follow its sorted folders, not ImageNet's labels."""

    dataset_dir = "imagenet-adversarial"
    image_dir = "imagenet-a"
    recipe = Recipe(
        classes=200,
        test=7500,
        mirror=on_mirror("imagenet-adversarial.zip"),
        pieces=(
            Piece(
                ("imagenet-a",),
                (
                    Source(
                        "https://people.eecs.berkeley.edu/~hendrycks/imagenet-a.tar",
                        take={"imagenet-a": "imagenet-a"},
                        sha256="3bb3632277e6ba6392ea64c02ddbf4dd2266c9caffd6bc09c9656d28f012589e",
                    ),
                ),
            ),
            imagenet_class_names(),
        ),
    )

    @classmethod
    def read(cls, dataset_dir: str) -> Splits:
        return Splits([], [], cls.read_images(dataset_dir, cls.image_dir))
