"""FGVC Aircraft: variants of aircraft, all images in one folder, with a split of its own."""

from __future__ import annotations

import os

from dassl.data.datasets import DATASET_REGISTRY, Datum

from .few_shot import FewShotDataset, Splits
from .folders import read_lines
from .recipe import Piece, Recipe, Source, on_mirror

LISTS = tuple(f"images_variant_{part}.txt" for part in ("train", "val", "test"))
PARTS = ("images", "variants.txt", *LISTS)
SUMS = {
    "variants.txt": "6e14e778b0a7c94c80619a7ba2c9f90c6784c9c997e308938ff8d3ee11662f0b",
    LISTS[0]: "29ac66fb762b9e1e5d007a18cb2cd2404ee326a4bce1dc0040e267c5585c46e7",
    LISTS[1]: "17afd8d6aac16d6188109465637f224a69e6c68d8b6e8422a2591f87aa3a8281",
    LISTS[2]: "06b5f65d559c399d6887d660dcec09dbf661576c0f3bd85e981e976b2bed3511",
}


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
        mirror=on_mirror("fgvc_aircraft.zip"),
        pieces=(
            Piece(
                PARTS,
                (
                    Source(
                        "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/archives/"
                        "fgvc-aircraft-2013b.tar.gz",
                        take={f"fgvc-aircraft-2013b/data/{part}": part for part in PARTS},
                        sha256="e4e323d410e29f0370c81eabdcbb0e2b813acea1de22891b70b58ff41bfc9834",
                    ),
                ),
                sums=SUMS,
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
