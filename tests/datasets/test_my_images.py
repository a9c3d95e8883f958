"""People's own pictures: class folders, CSV files, class names, file formats, bad input."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from dassl.config import get_cfg_default
from dassl.data.datasets import build_dataset
from dassl.utils import read_image
from PIL import Image

import datasets
from tests.datasets.miniature import class_folders, lines, picture


def build(shots=-1, subset="all", **options):
    cfg = get_cfg_default()
    datasets.extend_cfg(cfg)
    cfg.DATASET.NAME, cfg.DATASET.NUM_SHOTS, cfg.SEED, cfg.OUTPUT_DIR = "MyImages", shots, 1, ""
    cfg.DATASET.SUBSAMPLE_CLASSES = subset
    for key, value in options.items():
        cfg.DATASET[key] = str(value)
    return build_dataset(cfg)


@pytest.fixture
def two_level(tmp_path):
    class_folders(tmp_path / "train", ["cat", "dog", "owl"], 6)
    class_folders(tmp_path / "test", ["cat", "dog", "owl"], 3, ".png")
    return tmp_path


def test_train_and_test_folders(two_level):
    dataset = build(DIR=two_level)
    assert dataset.classnames == ["cat", "dog", "owl"]
    assert Counter(i.label for i in dataset.train_x) == {0: 6, 1: 6, 2: 6}
    assert Counter(i.label for i in dataset.test) == {0: 3, 1: 3, 2: 3}
    assert not dataset.val
    assert all(Path(i.impath).parent.name == i.classname for i in dataset.test)


def test_val_folder_and_class_absent_from_test(two_level):
    class_folders(two_level / "val", ["dog"], 2)
    for image in (two_level / "test/cat").iterdir():
        image.unlink()
    (two_level / "test/cat").rmdir()
    dataset = build(DIR=two_level)
    assert [i.label for i in dataset.val] == [1, 1]
    assert {i.label for i in dataset.test} == {1, 2}


def test_shots_and_halves(two_level):
    assert Counter(i.label for i in build(2, DIR=two_level).train_x) == {0: 2, 1: 2, 2: 2}
    assert build(subset="base", DIR=two_level).classnames == ["cat", "dog"]
    assert build(subset="new", DIR=two_level).lab2cname == {0: "owl"}


def test_single_level_is_split_reproducibly(tmp_path):
    class_folders(tmp_path, ["train", "bus"], 10)
    first, second = build(DIR=tmp_path), build(DIR=tmp_path)
    assert first.classnames == ["bus", "train"]
    assert [len(p) for p in (first.train_x, first.val, first.test)] == [10, 4, 6]
    assert [i.impath for i in first.test] == [i.impath for i in second.test]


def test_test_folder_alone_is_test_only(tmp_path):
    class_folders(tmp_path / "test", ["cat", "dog"], 3)
    dataset = build(16, DIR=tmp_path)
    assert len(dataset.test) == len(dataset.train_x) == 6


def test_csv_with_split_relative_to_its_own_folder(two_level):
    rows = ["path,label,split"]
    for part, used in (("train", "train"), ("test", "test")):
        for path in sorted((two_level / part).rglob("*.*")):
            rows.append(f"{path.relative_to(two_level)},{path.parent.name},{used}")
    lines(two_level / "pictures.csv", rows)
    dataset = build(CSV=two_level / "pictures.csv")
    folders = build(DIR=two_level)
    assert [i.impath for i in dataset.train_x] == [i.impath for i in folders.train_x]
    assert [(i.impath, i.label) for i in dataset.test] == [
        (i.impath, i.label) for i in folders.test
    ]


def test_csv_without_split_and_labels_that_are_numbers(tmp_path):
    rows = ["path,label"]
    for label in (10, 2):
        class_folders(tmp_path / "images", [str(label)], 10)
        rows += [f"images/{label}/{label}_{i:04d}.jpg,{label}" for i in range(10)]
    (tmp_path / "elsewhere").mkdir()
    csv = tmp_path / "elsewhere/excel.csv"
    csv.write_text("\n".join(rows), encoding="utf-8-sig")
    dataset = build(DIR=tmp_path, CSV=csv)
    assert dataset.classnames == ["2", "10"]
    assert [len(p) for p in (dataset.train_x, dataset.val, dataset.test)] == [10, 4, 6]


@pytest.mark.parametrize("separator", [" ", "\t"])
def test_class_names(two_level, separator):
    names = two_level / "names.txt"
    lines(names, [f"dog{separator}good dog", f"cat{separator}house cat", f"emu{separator}emu"])
    assert build(DIR=two_level, CLASSNAMES=names).classnames == ["house cat", "good dog", "owl"]


def as_it_decodes(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def formats(folder: Path) -> dict[str, Path]:
    """One picture in many formats; the EXIF one says that it should be turned by 90 degrees."""
    noise = np.random.default_rng(0).integers(0, 256, (12, 20, 3), np.uint8)
    image = Image.fromarray(noise)
    exif = Image.Exif()
    exif[0x0112] = 6
    made = {
        "colour.png": image,
        "colour.jpg": image,
        "colour.webp": image,
        "grey.jpg": image.convert("L"),
        "grey16.png": Image.fromarray(np.arange(240, dtype=np.uint16).reshape(12, 20) * 250),
        "palette.png": image.convert("P"),
        "palette.gif": image.convert("P"),
        "cmyk.jpg": image.convert("CMYK"),
        "alpha.png": image.convert("RGBA"),
        "one_bit.png": image.convert("1"),
    }
    for name, each in made.items():
        if name == "alpha.png":
            each.putalpha(0)
        each.save(folder / name)
    image.save(folder / "turned.jpg", exif=exif)
    return {name: folder / name for name in [*made, "turned.jpg"]}


def test_formats_are_seen_as_published_code_sees_them(tmp_path):
    folder = tmp_path / "test/thing"
    folder.mkdir(parents=True)
    paths = formats(folder)
    read = {Path(i.impath).name: read_image(i.impath) for i in build(DIR=tmp_path).test}
    assert read.keys() == paths.keys()
    for name, image in read.items():
        assert image.mode == "RGB"
        assert image.size == (20, 12)  # the EXIF rotation is not applied
        np.testing.assert_array_equal(np.asarray(image), as_it_decodes(paths[name]))
    # Transparent pixels keep the colour that is stored under them.
    np.testing.assert_array_equal(np.asarray(read["alpha.png"]), np.asarray(read["colour.png"]))


# Bad input


def test_nothing_given():
    with pytest.raises(FileNotFoundError, match=r"DATASET\.DIR FOLDER"):
        build()


def test_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent does not exist"):
        build(DIR=tmp_path / "absent")


def test_folder_that_is_a_file(tmp_path):
    picture(tmp_path / "a.jpg")
    with pytest.raises(NotADirectoryError, match="a folder is expected"):
        build(DIR=tmp_path / "a.jpg")


def test_folder_without_class_folders(tmp_path):
    picture(tmp_path / "a.jpg")
    with pytest.raises(FileNotFoundError, match="holds no class folders"):
        build(DIR=tmp_path)


def test_train_without_test(two_level):
    (two_level / "test").rename(two_level / ".hidden")
    with pytest.raises(FileNotFoundError, match="no test/"):
        build(DIR=two_level)


def test_class_in_test_that_is_not_trained(two_level):
    class_folders(two_level / "test", ["emu"], 1)
    with pytest.raises(ValueError, match="emu"):
        build(DIR=two_level)


def test_empty_class(two_level):
    (two_level / "train/emu").mkdir()
    with pytest.raises(ValueError, match="emu holds no images"):
        build(DIR=two_level)


def test_duplicate_class_names(two_level):
    lines(two_level / "names.txt", ["cat pet", "dog pet"])
    with pytest.raises(ValueError, match=r"'pet' and 'pet' \(labels \[0, 1\]\)"):
        build(DIR=two_level, CLASSNAMES=two_level / "names.txt")


def test_class_names_of_other_classes(two_level):
    lines(two_level / "names.txt", ["n01440764 tench"])
    with pytest.raises(ValueError, match="names none of the classes"):
        build(DIR=two_level, CLASSNAMES=two_level / "names.txt")


def test_class_names_line_without_a_name(two_level):
    lines(two_level / "names.txt", ["cat"])
    with pytest.raises(ValueError, match="'cat' is not of the form"):
        build(DIR=two_level, CLASSNAMES=two_level / "names.txt")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["file,class", "a.jpg,cat"], "has the columns file, class"),
        (["path;label", "a.jpg;cat"], "has the columns path;label"),
        ([], r"has the columns \(none\)"),
        (["path,label", "a.jpg,cat", "b.jpg,"], "line 3: expected path,label"),
        (["path,label", "a.jpg,cat,train"], "line 2: expected path,label"),
        (["path,label,split", "a.jpg,cat,training"], "line 2.*split one of train, val, test"),
    ],
)
def test_csv_that_is_wrong(tmp_path, rows, message):
    lines(tmp_path / "pictures.csv", rows)
    with pytest.raises(ValueError, match=message):
        build(CSV=tmp_path / "pictures.csv")


def test_csv_naming_a_missing_image(tmp_path):
    lines(tmp_path / "pictures.csv", ["path,label,split", "a.jpg,cat,train", "b.jpg,cat,test"])
    picture(tmp_path / "a.jpg")
    with pytest.raises(FileNotFoundError, match=r"1 of the images.*b\.jpg"):
        build(CSV=tmp_path / "pictures.csv")


def test_missing_csv(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"pictures\.csv"):
        build(CSV=tmp_path / "pictures.csv")
