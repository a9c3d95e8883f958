"""Oxford Flowers: 102 kinds of flowers, all images in one folder."""

from __future__ import annotations

import json
import os

from dassl.data.datasets import DATASET_REGISTRY, Datum

from .few_shot import FewShotDataset, Splits
from .files import read_mat, read_text
from .folders import split_by_class
from .recipe import Piece, Recipe, Source, file_on_drive, on_mirror


@DATASET_REGISTRY.register()
class OxfordFlowers(FewShotDataset):
    """Without a split file, imagelabels.mat (labels from 1) and cat_to_name.json are split
    50/20/30."""

    dataset_dir = "oxford_flowers"
    image_dir = "jpg"
    split_file = "split_zhou_OxfordFlowers.json"
    recipe = Recipe(
        classes=102,
        train=4093,
        val=1633,
        test=2463,
        mirror=on_mirror("oxford_flowers.zip"),
        pieces=(
            Piece(
                ("jpg",),
                (
                    Source(
                        "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/102flowers.tgz",
                        take={"jpg": "jpg"},
                        sha256="2d01ecc807db462958cfe3d92f57a8c252b4abd240eb955770201e45f783b246",
                    ),
                ),
            ),
            file_on_drive(
                "split_zhou_OxfordFlowers.json",
                "1Pp0sRXzZFZq15zVOzKjKBu4A9i01nozT",
                "2f50c42fc1a17ca13c271cb4269b1347bdb43d2be672e34f74a4e4cbfbcca794",
            ),
        ),
    )

    @classmethod
    def make_split(cls, dataset_dir: str, image_dir: str) -> Splits:
        labels = read_mat(os.path.join(dataset_dir, "imagelabels.mat"))["labels"][0]
        names = json.loads(read_text(os.path.join(dataset_dir, "cat_to_name.json")))
        return split_by_class(
            Datum(
                impath=os.path.join(image_dir, f"image_{number:05d}.jpg"),
                label=int(label) - 1,
                classname=names[str(label)],
            )
            for number, label in enumerate(labels, start=1)
        )
