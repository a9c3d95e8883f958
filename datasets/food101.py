"""Food101: dishes, one folder a class."""

from __future__ import annotations

from dassl.data.datasets import DATASET_REGISTRY

from .few_shot import FewShotDataset, Splits
from .folders import read_class_folders, split_by_class
from .recipe import Piece, Recipe, Source, file_on_drive, on_mirror


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
        mirror=on_mirror("food101.zip"),
        pieces=(
            Piece(
                ("images",),
                (
                    Source(
                        "https://data.vision.ee.ethz.ch/cvl/food-101.tar.gz",
                        take={"food-101/images": "images"},
                        sha256="d97d15e438b7f4498f96086a4f7e2fa42a32f2712e87d3295441b2b6314053a4",
                    ),
                ),
            ),
            file_on_drive(
                "split_zhou_Food101.json",
                "1QK0tGi096I0Ba6kggatX1ee6dJFIcEJl",
                "7c3d456c4f348255e1a363e0ea5118318936488f3ec20d83758e0ee67cb9037c",
            ),
        ),
    )

    @classmethod
    def make_split(cls, dataset_dir: str, image_dir: str) -> Splits:
        return split_by_class(read_class_folders(image_dir))
