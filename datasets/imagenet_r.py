"""ImageNet-R: art, cartoons and other renditions of 200 of ImageNet's classes."""

from __future__ import annotations

from dassl.data.datasets import DATASET_REGISTRY

from .few_shot import Splits
from .recipe import Piece, Recipe, Source, imagenet_class_names, on_mirror
from .synsets import SynsetDataset


@DATASET_REGISTRY.register()
class ImageNetR(SynsetDataset):
    """Test only.  Labels 0 to 199 follow its sorted folders, not ImageNet's labels."""

    dataset_dir = "imagenet-rendition"
    image_dir = "imagenet-r"
    recipe = Recipe(
        classes=200,
        test=30000,
        mirror=on_mirror("imagenet-rendition.zip"),
        pieces=(
            Piece(
                ("imagenet-r",),
                (
                    Source(
                        "https://people.eecs.berkeley.edu/~hendrycks/imagenet-r.tar",
                        take={"imagenet-r": "imagenet-r"},
                        sha256="18c6bf493b39a0d975d48e587437f562caab9c52ae6327dcfa9dd8eb54aa1b52",
                    ),
                ),
            ),
            imagenet_class_names(),
        ),
    )

    @classmethod
    def read(cls, dataset_dir: str) -> Splits:
        return Splits([], [], cls.read_images(dataset_dir, cls.image_dir))
