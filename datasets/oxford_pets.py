"""Oxford Pets: breeds of cats and dogs, all images in one folder."""

from __future__ import annotations

import os

from dassl.data.datasets import DATASET_REGISTRY, Datum

from .few_shot import FewShotDataset, Splits
from .folders import read_lines, split_validation
from .recipe import Piece, Recipe, Source, file_on_drive, on_mirror

ARCHIVES = (
    "https://www.robots.ox.ac.uk/~vgg/data/pets/data/",
    "https://thor.robots.ox.ac.uk/~vgg/data/pets/",
)


@DATASET_REGISTRY.register()
class OxfordPets(FewShotDataset):
    """Without a split file, annotations/{trainval,test}.txt (``IMAGE LABEL SPECIES BREED``, labels
    from 1) are used, 20% of trainval becoming val."""

    dataset_dir = "oxford_pets"
    image_dir = "images"
    split_file = "split_zhou_OxfordPets.json"
    recipe = Recipe(
        classes=37,
        train=2944,
        val=736,
        test=3669,
        mirror=on_mirror("oxford_pets.zip"),
        pieces=(
            Piece(
                ("images",),
                tuple(
                    Source(
                        address + "images.tar.gz",
                        take={"images": "images"},
                        sha256="67195c5e1c01f1ab5f9b6a5d22b8c27a580d896ece458917e61d459337fa318d",
                    )
                    for address in ARCHIVES
                ),
            ),
            file_on_drive(
                "split_zhou_OxfordPets.json",
                "1501r8Ber4nNKvmlFVQZ8SeUHTcdTTEqs",
                "d7f3ffe65b3919f95132e51422894ae18686b83c331fd8c0adcdc3dc2de6301e",
            ),
        ),
    )

    @classmethod
    def make_split(cls, dataset_dir: str, image_dir: str) -> Splits:
        def read(name: str) -> list[Datum]:
            items = []
            for line in read_lines(os.path.join(dataset_dir, "annotations", name)):
                image, label, _, _ = line.split(" ")
                breed = image.rsplit("_", 1)[0].lower()
                path = os.path.join(image_dir, image + ".jpg")
                items.append(Datum(impath=path, label=int(label) - 1, classname=breed))
            return items

        return Splits(*split_validation(read("trainval.txt")), read("test.txt"))
