"""Describable Textures (DTD): 47 textures, one folder a class."""

from __future__ import annotations

from dassl.data.datasets import DATASET_REGISTRY

from .few_shot import FewShotDataset, Splits
from .folders import read_class_folders, split_by_class
from .recipe import Piece, Recipe, Source, file_on_drive, on_mirror


@DATASET_REGISTRY.register()
class DescribableTextures(FewShotDataset):
    """Without a split file the folders are split 50/20/30; DTD's own ten splits are not used."""

    dataset_dir = "dtd"
    image_dir = "images"
    split_file = "split_zhou_DescribableTextures.json"
    recipe = Recipe(
        classes=47,
        train=2820,
        val=1128,
        test=1692,
        mirror=on_mirror("dtd.zip"),
        pieces=(
            Piece(
                ("images",),
                (
                    Source(
                        "https://www.robots.ox.ac.uk/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz",
                        take={"dtd/images": "images"},
                        sha256="e42855a52a4950a3b59612834602aa253914755c95b0cff9ead6d07395f8e205",
                    ),
                ),
            ),
            file_on_drive(
                "split_zhou_DescribableTextures.json",
                "1u3_QfB467jqHgNXC00UIzbLZRQCg2S7x",
                "f26ebeccd2b58e68d70f07a0dc39fe49bf7b69024bac34396b954dfd87969c38",
            ),
        ),
    )

    @classmethod
    def make_split(cls, dataset_dir: str, image_dir: str) -> Splits:
        return split_by_class(read_class_folders(image_dir))
