"""UCF101: human actions, the middle frame of each video, one folder a class."""

from __future__ import annotations

import os
import re

from dassl.data.datasets import DATASET_REGISTRY, Datum

from .few_shot import FewShotDataset, Splits
from .folders import read_lines, split_validation
from .recipe import DRIVE, UNPUBLISHED, Piece, Recipe, Source, file_on_drive, on_mirror


@DATASET_REGISTRY.register()
class UCF101(FewShotDataset):
    """Class names are split at capitals: ApplyEyeMakeup is Apply_Eye_Makeup, and so is its folder.

    Without a split file, ucfTrainTestlist/{classInd,trainlist01,testlist01}.txt are used, 20% of
    the training images becoming val.
    """

    dataset_dir = "ucf101"
    image_dir = "UCF-101-midframes"
    split_file = "split_zhou_UCF101.json"
    recipe = Recipe(
        classes=101,
        train=7639,
        val=1898,
        test=3783,
        mirror=on_mirror(
            "ucf101.zip",
            "2fe1bd40e64408d02ff173badf744da557033ae6c75dd4ea51519366551f3ae6",
        ),
        pieces=(
            Piece(
                ("UCF-101-midframes",),
                (
                    Source(
                        DRIVE + "10Jqome3vtUA2keJkNanAiFpgbyC9Hc2O",
                        take={"UCF-101-midframes": "UCF-101-midframes"},
                        no_sum=UNPUBLISHED,
                    ),
                ),
            ),
            file_on_drive(
                "split_zhou_UCF101.json",
                "1I0S0q91hJfsV9Gf4xDIjgDq4AqBNJb1y",
                "d78cb834f7c5792ceaff2c5ee2d7c76a9e4086e48a3a6b01232989d29cbefdd8",
            ),
        ),
    )

    @classmethod
    def make_split(cls, dataset_dir: str, image_dir: str) -> Splits:
        lists = os.path.join(dataset_dir, "ucfTrainTestlist")
        labels = {}
        for line in read_lines(os.path.join(lists, "classInd.txt")):
            number, action = line.split(" ")
            labels[action] = int(number) - 1

        def read(name: str) -> list[Datum]:
            items = []
            for line in read_lines(os.path.join(lists, name)):
                action, video = line.split(" ")[0].split("/")
                class_name = "_".join(re.findall("[A-Z][^A-Z]*", action))
                image = os.path.join(image_dir, class_name, video.replace(".avi", ".jpg"))
                items.append(Datum(impath=image, label=labels[action], classname=class_name))
            return items

        return Splits(*split_validation(read("trainlist01.txt")), read("testlist01.txt"))
