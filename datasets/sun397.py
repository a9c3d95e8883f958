"""SUN397: scenes, in nested folders such as c/church/outdoor."""

from __future__ import annotations

import os

from dassl.data.datasets import DATASET_REGISTRY, Datum

from .few_shot import FewShotDataset, Splits
from .folders import read_lines, split_validation
from .recipe import Piece, Recipe, Source, file_on_drive, on_mirror


@DATASET_REGISTRY.register()
class SUN397(FewShotDataset):
    """The class name is the folder without its letter, parts reversed: "outdoor church".

    Without a split file, ClassName.txt, Training_01.txt and Testing_01.txt (paths such as
    ``/c/church/outdoor/sun_aaaa.jpg``) are used, 20% of the training images becoming val.
    """

    dataset_dir = "sun397"
    image_dir = "SUN397"
    split_file = "split_zhou_SUN397.json"
    recipe = Recipe(
        classes=397,
        train=15880,
        val=3970,
        test=19850,
        mirror=on_mirror(
            "sun397.zip",
            "ce6dee6685c9f1d592c8297e193dde885aa9c50d008fd998a38ccc57a3dda722",
        ),
        pieces=(
            Piece(
                ("SUN397",),
                (
                    Source(
                        "https://huggingface.co/zhengli97/SUN397_Dataset/resolve/main/"
                        "SUN397.tar.gz",
                        take={"SUN397": "SUN397"},
                        sha256="f404130965a7ad77bed5ececc71e720ab50f3cc1e1bb257257610d38f3b928ec",
                    ),
                ),
            ),
            file_on_drive(
                "split_zhou_SUN397.json",
                "1y2RD81BYuiyvebdN-JymPfyWYcd8_MUq",
                "9847f9ef611008073ac42adee6614bbb83f877cfbcfbd3115fc8284e0c8c1c47",
            ),
        ),
    )

    @classmethod
    def make_split(cls, dataset_dir: str, image_dir: str) -> Splits:
        folders = read_lines(os.path.join(dataset_dir, "ClassName.txt"))
        labels = {folder.strip("/"): label for label, folder in enumerate(folders)}

        def read(name: str) -> list[Datum]:
            items = []
            for line in read_lines(os.path.join(dataset_dir, name)):
                path = line.strip("/")
                folder = os.path.dirname(path)
                class_name = " ".join(reversed(folder.split("/")[1:]))
                image = os.path.join(image_dir, path)
                items.append(Datum(impath=image, label=labels[folder], classname=class_name))
            return items

        return Splits(*split_validation(read("Training_01.txt")), read("Testing_01.txt"))
