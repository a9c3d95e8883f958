"""Caltech101: objects, one folder a class."""

from __future__ import annotations

from dassl.data.datasets import DATASET_REGISTRY

from .few_shot import FewShotDataset, Splits
from .folders import list_classes, read_class_folders, split_by_class
from .recipe import Piece, Recipe, Source, file_on_drive, on_mirror

LEFT_OUT = {"BACKGROUND_Google", "Faces_easy"}
CLASS_NAMES = {
    "airplanes": "airplane",
    "Faces": "face",
    "Leopards": "leopard",
    "Motorbikes": "motorbike",
}


@DATASET_REGISTRY.register()
class Caltech101(FewShotDataset):
    """Of its 102 folders 100 are classes; without a split file they are split 50/20/30."""

    dataset_dir = "caltech-101"
    image_dir = "101_ObjectCategories"
    split_file = "split_zhou_Caltech101.json"
    recipe = Recipe(
        classes=100,
        train=4128,
        val=1649,
        test=2465,
        mirror=on_mirror("caltech-101.zip"),
        pieces=(
            Piece(
                ("101_ObjectCategories",),
                (
                    Source(
                        "https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip",
                        take={"101_ObjectCategories": "101_ObjectCategories"},
                        inner="caltech-101/101_ObjectCategories.tar.gz",
                        sha256="331234750fc7f77520e50d9565e8b6907b03565e30320da1401130db08c61f91",
                    ),
                ),
            ),
            file_on_drive(
                "split_zhou_Caltech101.json",
                "1hyarUivQE36mY6jSomru6Fjd-JzwcCzN",
                "52ce83205ff8ff8a1a18119aad6376120ae35c36e783a984bc560cbf10e73fa5",
            ),
        ),
    )

    @classmethod
    def make_split(cls, dataset_dir: str, image_dir: str) -> Splits:
        classes = [name for name in list_classes(image_dir) if name not in LEFT_OUT]
        return split_by_class(read_class_folders(image_dir, classes, CLASS_NAMES))
