"""Miniature trees of all fifteen datasets in their real layouts and file formats.

Each builder makes a dataset folder with its raw annotations under a root, and returns what
reading it without a split file must give.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

SYNSETS = {
    "n01440764": "tench",
    "n01443537": "goldfish",
    "n01484850": "great white shark",
    "n01491361": "tiger shark",
}


@dataclass(frozen=True)
class Expected:
    """Class names by label, and images per class in train, val and test.  ``paths`` are (path
    inside the dataset's folder, label) of a few images."""

    names: list[str]
    per_class: tuple[int, int, int]
    paths: tuple[tuple[str, int], ...]


def picture(path: Path) -> None:
    """A small noisy JPEG (or what the suffix says), different for each path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(list(str(path).encode())).integers(0, 256, (40, 48, 3), np.uint8)
    Image.fromarray(noise).save(path)


def lines(path: Path, content: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in content), encoding="utf-8")


def class_folders(folder: Path, classes: list[str], count: int, suffix: str = ".jpg") -> None:
    for name in classes:
        for i in range(count):
            picture(folder / name / f"{name}_{i:04d}{suffix}")


def caltech101(root: Path) -> Expected:
    images = root / "caltech-101/101_ObjectCategories"
    class_folders(
        images,
        ["BACKGROUND_Google", "Faces_easy", "Faces", "accordion", "airplanes", "yin_yang"],
        10,
    )
    paths = (("101_ObjectCategories/Faces/Faces_0000.jpg", 0),)
    return Expected(["face", "accordion", "airplane", "yin_yang"], (5, 2, 3), paths)


def dtd(root: Path) -> Expected:
    class_folders(root / "dtd/images", ["banded", "blotchy", "zigzagged"], 10)
    paths = (("images/blotchy/blotchy_0003.jpg", 1),)
    return Expected(["banded", "blotchy", "zigzagged"], (5, 2, 3), paths)


def eurosat(root: Path) -> Expected:
    class_folders(root / "eurosat/2750", ["AnnualCrop", "Forest", "SeaLake"], 10)
    names = ["Annual Crop Land", "Forest", "Sea or Lake"]
    return Expected(names, (5, 2, 3), (("2750/SeaLake/SeaLake_0000.jpg", 2),))


def food101(root: Path) -> Expected:
    class_folders(root / "food-101/images", ["apple_pie", "baby_back_ribs"], 20)
    names = ["apple_pie", "baby_back_ribs"]
    return Expected(names, (10, 4, 6), (("images/apple_pie/apple_pie_0001.jpg", 0),))


def oxford_flowers(root: Path) -> Expected:
    folder = root / "oxford_flowers"
    labels = [3] * 10 + [1] * 10 + [2] * 10
    for number in range(1, len(labels) + 1):
        picture(folder / f"jpg/image_{number:05d}.jpg")
    savemat(folder / "imagelabels.mat", {"labels": np.array([labels], np.uint8)})
    names = {"2": "hard-leaved pocket orchid", "1": "pink primrose", "3": "canterbury bells"}
    (folder / "cat_to_name.json").write_text(json.dumps(names))
    paths = (("jpg/image_00001.jpg", 2), ("jpg/image_00011.jpg", 0))
    return Expected([names["1"], names["2"], names["3"]], (5, 2, 3), paths)


def oxford_pets(root: Path) -> Expected:
    folder = root / "oxford_pets"
    breeds = {"Abyssinian": 1, "american_bulldog": 2, "Egyptian_Mau": 3}
    parts = {"trainval.txt": range(1, 11), "test.txt": range(11, 15)}
    for name, numbers in parts.items():
        rows = [f"{b}_{i} {n} 1 1" for b, n in breeds.items() for i in numbers]
        lines(folder / "annotations" / name, rows)
        for row in rows:
            picture(folder / "images" / f"{row.split()[0]}.jpg")
    names = ["abyssinian", "american_bulldog", "egyptian_mau"]
    return Expected(names, (8, 2, 4), (("images/Egyptian_Mau_11.jpg", 2),))


def stanford_cars(root: Path) -> Expected:
    folder = root / "stanford_cars"
    cars = ["AM General Hummer SUV 2000", "Audi TTS Coupe 2012", "Ram C/V Cargo Van Minivan 2012"]
    (folder / "devkit").mkdir(parents=True)
    meta = np.empty((1, 3), object)
    meta[0] = [np.array([car]) for car in cars]
    savemat(folder / "devkit/cars_meta.mat", {"class_names": meta})
    names = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname")
    parts = {
        "cars_train": (10, folder / "devkit/cars_train_annos.mat"),
        "cars_test": (4, folder / "cars_test_annos_withlabels.mat"),
    }
    for images, (per_class, path) in parts.items():
        rows = np.empty((1, 3 * per_class), dtype=[(name, object) for name in names])
        for i in range(3 * per_class):
            file = f"{i + 1:05d}.jpg"
            rows[0, i] = (1, 1, 40, 40, np.array([[i % 3 + 1]], np.uint8), np.array([file]))
            picture(folder / images / file)
        savemat(path, {"annotations": rows})
    return Expected(
        ["2000 AM General Hummer SUV", "2012 Audi TTS Coupe", "2012 Ram C/V Cargo Van Minivan"],
        (8, 2, 4),
        (("cars_train/00002.jpg", 1), ("cars_test/00003.jpg", 2)),
    )


def sun397(root: Path) -> Expected:
    folder = root / "sun397"
    classes = ["/a/abbey", "/c/church/indoor", "/c/church/outdoor"]
    lines(folder / "ClassName.txt", classes)
    for name, numbers in {"Training_01.txt": range(10), "Testing_01.txt": range(10, 14)}.items():
        rows = [f"{c}/sun_{i:04d}.jpg" for c in classes for i in numbers]
        lines(folder / name, rows)
        for row in rows:
            picture(folder / "SUN397" / row.strip("/"))
    names = ["abbey", "indoor church", "outdoor church"]
    return Expected(names, (8, 2, 4), (("SUN397/c/church/outdoor/sun_0010.jpg", 2),))


def ucf101(root: Path) -> Expected:
    folder = root / "ucf101"
    actions = {"ApplyEyeMakeup": "Apply_Eye_Makeup", "TaiChi": "Tai_Chi", "YoYo": "Yo_Yo"}
    lines(folder / "ucfTrainTestlist/classInd.txt", [f"{i} {a}" for i, a in enumerate(actions, 1)])
    for name, numbers in {"trainlist01": range(10), "testlist01": range(10, 14)}.items():
        rows = []
        for label, (action, renamed) in enumerate(actions.items(), 1):
            for i in numbers:
                mark = f" {label}" if name == "trainlist01" else ""
                rows.append(f"{action}/v_{action}_g{i:02d}_c01.avi{mark}")
                picture(folder / "UCF-101-midframes" / renamed / f"v_{action}_g{i:02d}_c01.jpg")
        lines(folder / f"ucfTrainTestlist/{name}.txt", rows)
    paths = (("UCF-101-midframes/Tai_Chi/v_TaiChi_g12_c01.jpg", 1),)
    return Expected(list(actions.values()), (8, 2, 4), paths)


def fgvc_aircraft(root: Path) -> Expected:
    folder = root / "fgvc_aircraft"
    variants = ["707-320", "727-200", "DHC-8-100 Dash 8"]
    lines(folder / "variants.txt", variants)
    number = 1025794
    for part, per_class in (("train", 6), ("val", 5), ("test", 4)):
        rows = []
        for _ in range(per_class):
            for variant in variants:
                rows.append(f"{number} {variant}")
                picture(folder / f"images/{number}.jpg")
                number += 1
        lines(folder / f"images_variant_{part}.txt", rows)
    return Expected(variants, (6, 5, 4), (("images/1025796.jpg", 2),))


def class_names(folder: Path, synsets: list[str] = list(SYNSETS)) -> None:  # noqa: B006
    lines(folder / "classnames.txt", [f"{synset} {SYNSETS[synset]}" for synset in synsets])


def imagenet(root: Path) -> Expected:
    folder = root / "imagenet"
    class_names(folder)
    class_folders(folder / "images/train", list(SYNSETS), 6, ".JPEG")
    class_folders(folder / "images/val", list(SYNSETS), 3, ".JPEG")
    paths = (("images/train/n01443537/n01443537_0000.JPEG", 1),)
    return Expected(list(SYNSETS.values()), (6, 3, 3), paths)


def imagenetv2(root: Path) -> Expected:
    folder = root / "imagenetv2"
    class_names(folder)
    images = "imagenetv2-matched-frequency-format-val"
    class_folders(folder / images, ["0", "1", "2", "3"], 3, ".jpeg")
    return Expected(list(SYNSETS.values()), (3, 0, 3), ((f"{images}/2/2_0000.jpeg", 2),))


def imagenet_variant(folder: str, images: str, synsets: list[str]) -> Callable[[Path], Expected]:
    def build(root: Path) -> Expected:
        class_names(root / folder)
        class_folders(root / folder / images, synsets, 3)
        (root / folder / images / "README.txt").write_text("not a class")
        names = [SYNSETS[synset] for synset in synsets]
        path = f"{images}/{synsets[-1]}/{synsets[-1]}_0000.jpg"
        return Expected(names, (3, 0, 3), ((path, len(synsets) - 1),))

    return build


TREES: dict[str, Callable[[Path], Expected]] = {
    "ImageNet": imagenet,
    "Caltech101": caltech101,
    "OxfordPets": oxford_pets,
    "StanfordCars": stanford_cars,
    "OxfordFlowers": oxford_flowers,
    "Food101": food101,
    "FGVCAircraft": fgvc_aircraft,
    "SUN397": sun397,
    "DescribableTextures": dtd,
    "EuroSAT": eurosat,
    "UCF101": ucf101,
    "ImageNetV2": imagenetv2,
    "ImageNetSketch": imagenet_variant("imagenet-sketch", "images", list(SYNSETS)),
    "ImageNetA": imagenet_variant("imagenet-adversarial", "imagenet-a", ["n01443537", "n01491361"]),
    "ImageNetR": imagenet_variant("imagenet-rendition", "imagenet-r", ["n01440764", "n01484850"]),
}
