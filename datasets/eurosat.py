"""EuroSAT: ten kinds of land use seen by a satellite, one folder a class."""

from __future__ import annotations

from dassl.data.datasets import DATASET_REGISTRY

from .few_shot import FewShotDataset, Splits
from .folders import read_class_folders, split_by_class
from .recipe import Piece, Recipe, Source, file_on_drive, on_mirror

CLASS_NAMES = {
    "AnnualCrop": "Annual Crop Land",
    "HerbaceousVegetation": "Herbaceous Vegetation Land",
    "Highway": "Highway or Road",
    "Industrial": "Industrial Buildings",
    "Pasture": "Pasture Land",
    "PermanentCrop": "Permanent Crop Land",
    "Residential": "Residential Buildings",
    "SeaLake": "Sea or Lake",
}


@DATASET_REGISTRY.register()
class EuroSAT(FewShotDataset):
    """Without a split file the folders are split 50/20/30."""

    dataset_dir = "eurosat"
    image_dir = "2750"
    split_file = "split_zhou_EuroSAT.json"
    recipe = Recipe(
        classes=10,
        train=13500,
        val=5400,
        test=8100,
        mirror=on_mirror("eurosat.zip"),
        pieces=(
            Piece(
                ("2750",),
                (
                    Source(
                        "https://zenodo.org/records/7711810/files/EuroSAT_RGB.zip",
                        take={"EuroSAT_RGB": "2750"},
                        sha256="b4f5b234ecb7d7ff9c6cddb046543b4717c53fd6e9815be6c0e80cc614f51b90",
                    ),
                    Source(
                        "https://huggingface.co/datasets/torchgeo/eurosat/resolve/"
                        "c877bcd43f099cd0196738f714544e355477f3fd/EuroSAT.zip",
                        take={"2750": "2750"},
                        sha256="8ebea626349354c5328b142b96d0430e647051f26efc2dc974c843f25ecf70bd",
                    ),
                ),
            ),
            file_on_drive(
                "split_zhou_EuroSAT.json",
                "1Ip7yaCWFi0eaOFUGga0lUdVi_DDQth1o",
                "541503a77d0b26b735d85ec7a3e672804fe0aa466c2e5f07da772cc6c0af8ad2",
            ),
        ),
    )

    @classmethod
    def make_split(cls, dataset_dir: str, image_dir: str) -> Splits:
        return split_by_class(read_class_folders(image_dir, class_names=CLASS_NAMES))
