"""Stanford Cars: makes, models and years."""

from __future__ import annotations

import os

from dassl.data.datasets import DATASET_REGISTRY, Datum

from .few_shot import FewShotDataset, Splits
from .files import read_mat
from .folders import split_validation
from .recipe import Piece, Recipe, file_on_drive, on_mirror


@DATASET_REGISTRY.register()
class StanfordCars(FewShotDataset):
    """The year moves to the front of the class name: "2012 Audi TTS Coupe".

    Without a split file the devkit's .mat files are used, 20% of the training images becoming val.
    """

    dataset_dir = "stanford_cars"
    split_file = "split_zhou_StanfordCars.json"
    recipe = Recipe(
        classes=196,
        train=6509,
        val=1635,
        test=8041,
        mirror=on_mirror(
            "stanford_cars.zip",
            "50812812f33534ef2906b992762f96e8a5bb57b0eedc53800e91b7ed599abf8e",
        ),
        pieces=(
            Piece(
                ("cars_train", "cars_test"),
                by_hand="The site of Stanford Cars is gone; beside the mirror a browser gets these "
                "two folders from https://www.kaggle.com/datasets/rickyyyyyyy/"
                "torchvision-stanford-cars (move them up until they lie right in the folder named).",
            ),
            file_on_drive(
                "split_zhou_StanfordCars.json",
                "1ObCFbaAgVu0I-k_Au-gIUcefirdAuizT",
                "40acee7aa65c8e4727a32d90e884b7c3f8960b523422317e163f7af65432959d",
            ),
        ),
    )

    @classmethod
    def make_split(cls, dataset_dir: str, image_dir: str) -> Splits:
        devkit = os.path.join(dataset_dir, "devkit")
        meta = read_mat(os.path.join(devkit, "cars_meta.mat"))["class_names"][0]
        names = [_year_first(str(name[0])) for name in meta]

        def read(folder: str, path: str) -> list[Datum]:
            items = []
            for annotation in read_mat(path)["annotations"][0]:
                label = int(annotation["class"][0, 0]) - 1
                image = os.path.join(image_dir, folder, str(annotation["fname"][0]))
                items.append(Datum(impath=image, label=label, classname=names[label]))
            return items

        train = read("cars_train", os.path.join(devkit, "cars_train_annos.mat"))
        test = read("cars_test", os.path.join(dataset_dir, "cars_test_annos_withlabels.mat"))
        return Splits(*split_validation(train), test)


def _year_first(name: str) -> str:
    car, year = name.rsplit(" ", 1)
    return f"{year} {car}"
