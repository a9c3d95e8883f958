"""FGVC Aircraft: variants of aircraft, all images in one folder, with a split of its own."""

from __future__ import annotations

import os

from dassl.data.datasets import DATASET_REGISTRY, Datum

from .few_shot import FewShotDataset, Splits
from .folders import read_lines
from .recipe import MIRROR, Piece, Recipe, Source

LISTS = tuple(f"images_variant_{part}.txt" for part in ("train", "val", "test"))
PARTS = ("images", "variants.txt", *LISTS)


@DATASET_REGISTRY.register()
class FGVCAircraft(FewShotDataset):
    """Labels follow variants.txt; each line of a list is ``IMAGE class name``."""

    dataset_dir = "fgvc_aircraft"
    image_dir = "images"
    recipe = Recipe(
        classes=100,
        train=3334,
        val=3333,
        test=3333,
        mirror=MIRROR + "fgvc_aircraft.zip",
        pieces=(
            Piece(
                PARTS,
                (
                    Source(
                        "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/archives/"
                        "fgvc-aircraft-2013b.tar.gz",
                        take={f"fgvc-aircraft-2013b/data/{part}": part for part in PARTS},
                    ),
                ),
            ),
        ),
    )

    @classmethod
    def read(cls, dataset_dir: str) -> Splits:
        variants = read_lines(os.path.join(dataset_dir, "variants.txt"))
        labels = {name: label for label, name in enumerate(variants)}

        def read_list(name: str) -> list[Datum]:
            items = []
            for line in read_lines(os.path.join(dataset_dir, name)):
                image, variant = line.split(" ", 1)
                path = os.path.join(dataset_dir, cls.image_dir, image + ".jpg")
                items.append(Datum(impath=path, label=labels[variant], classname=variant))
            return items

        return Splits(*map(read_list, LISTS))
