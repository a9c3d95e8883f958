"""Food101: dishes, one folder a class."""

from __future__ import annotations

from dassl.data.datasets import DATASET_REGISTRY

from .few_shot import FewShotDataset, Splits
from .folders import read_class_folders, split_by_class
from .recipe import MIRROR, Piece, Recipe, Source, file_on_drive


@DATASET_REGISTRY.register()
class Food101(FewShotDataset):
    """Without a split file the folders are split 50/20/30; Food101's own meta/ is not used."""

    dataset_dir = "food-101"
    image_dir = "images"
    split_file = "split_zhou_Food101.json"
    recipe = Recipe(
        classes=101,
        train=50500,
        val=20200,
        test=30300,
        mirror=MIRROR + "food101.zip",
        pieces=(
            Piece(
                ("images",),
                (
                    Source(
                        "https://data.vision.ee.ethz.ch/cvl/food-101.tar.gz",
                        take={"food-101/images": "images"},
                    ),
                ),
            ),
            file_on_drive("split_zhou_Food101.json", "1QK0tGi096I0Ba6kggatX1ee6dJFIcEJl"),
        ),
    )

    @classmethod
    def make_split(cls, dataset_dir: str, image_dir: str) -> Splits:
        return split_by_class(read_class_folders(image_dir))
