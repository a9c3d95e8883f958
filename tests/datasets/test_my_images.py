"""People's own pictures: class folders, CSV files, class names, file formats, bad input."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from dassl.config import get_cfg_default
from dassl.data.datasets import build_dataset
from dassl.utils import read_image
from PIL import Image

import datasets
from datasets.check import main
from datasets.errors import InputError
from tests.datasets.miniature import class_folders, lines, picture


def build(shots=-1, subset="all", **options):
    cfg = get_cfg_default()
    datasets.extend_cfg(cfg)
    cfg.DATASET.NAME, cfg.DATASET.NUM_SHOTS, cfg.OUTPUT_DIR = "MyImages", shots, ""
    cfg.SEED = options.pop("SEED", 1)
    cfg.DATASET.SUBSAMPLE_CLASSES = subset
    if output := options.pop("OUTPUT", None):
        output.mkdir()
        cfg.OUTPUT_DIR = str(output)
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
    assert dataset.test_only


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
        if name != "grey16.png":  # which is scaled to 8 bits; Pillow's convert() makes it white
            np.testing.assert_array_equal(np.asarray(image), as_it_decodes(paths[name]))
    sixteen = np.asarray(Image.open(paths["grey16.png"]))
    np.testing.assert_array_equal(np.asarray(read["grey16.png"])[..., 0], sixteen >> 8)
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


def test_train_without_test_is_cut_class_by_class_whatever_the_seed(tmp_path, capsys):
    class_folders(tmp_path / "train", ["cat", "emu"], 10)
    drawn = build(DIR=tmp_path, SEED=1), build(DIR=tmp_path, SEED=2)
    assert "has no test/: of the 20 pictures in train/ 6 are held out for it and 4 for" in (
        capsys.readouterr().out
    )
    for dataset in drawn:
        parts = [dataset.train_x, dataset.val, dataset.test]
        assert [Counter(i.classname for i in part) for part in parts] == [
            {"cat": count, "emu": count} for count in (5, 2, 3)
        ]
        assert len({item.impath for part in parts for item in part}) == 20
        assert [i.impath for i in dataset.test] == [i.impath for i in drawn[0].test]


def test_a_given_val_is_kept_where_test_is_held_out(tmp_path, capsys):
    class_folders(tmp_path / "train", ["cat", "emu"], 10)
    class_folders(tmp_path / "val", ["cat", "emu"], 1)
    dataset = build(DIR=tmp_path)
    assert [len(part) for part in (dataset.train_x, dataset.val, dataset.test)] == [14, 2, 6]
    assert "6 are held out for it" in capsys.readouterr().out


def test_too_few_pictures_to_hold_some_out(tmp_path):
    class_folders(tmp_path / "train", ["cat", "emu"], 1)
    with pytest.raises(ValueError, match="'cat' has 1 images, too few to split"):
        build(DIR=tmp_path)
    class_folders(tmp_path / "val", ["cat", "emu"], 1)
    with pytest.raises(ValueError, match="train/ has one picture of cat, emu, too few to hold"):
        build(DIR=tmp_path)


def test_val_alone(two_level):
    for part in ("train", "test"):
        (two_level / part).rename(two_level / f".{part}")
    class_folders(two_level / "val", ["cat", "emu"], 3)
    with pytest.raises(FileNotFoundError, match="has val/, but neither train/ nor test/"):
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


@pytest.mark.parametrize("line", ["cat\thouse cat\tdog\tgood dog", "cat house\x0ccat"])
def test_class_names_of_two_lines_in_one(two_level, line):
    lines(two_level / "names.txt", [line])
    with pytest.raises(InputError, match=r"has a second tab .* Put one label with its name on a"):
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


# Wrong data that would go unnoticed


@pytest.mark.parametrize(
    "names", [("red_fox", "red fox"), ("Bee", "bee"), ("cat", "cat "), ("a&amp;b", "A&b")]
)
def test_folders_that_are_one_class_to_the_text_encoder(names, tmp_path):
    class_folders(tmp_path, ["owl", *names], 10)
    with pytest.raises(InputError, match=re.escape(f"{names[0]!r}") + ".*labels"):
        build(DIR=tmp_path)


def table(folder, rows, encoding="utf-8"):
    """A CSV file with these rows; those that name no image get one."""
    for row in rows[1:]:
        path = folder / row.split(",")[0]
        if not path.exists():
            picture(path)
    (folder / "pictures.csv").write_text("\n".join(rows) + "\n", encoding=encoding)
    return folder / "pictures.csv"


GOOD = ["path,label,split", "a.jpg,cat,train", "b.jpg,dog,train", "c.jpg,cat,test"]


def test_csv_labels_are_stripped(tmp_path):
    rows = ["path, label ,split", "a.jpg,cat ,train", "b.jpg, dog,train ", "c.jpg,cat,Test", ",,"]
    dataset = build(CSV=table(tmp_path, rows[:-1]))
    assert dataset.classnames == ["cat", "dog"]
    assert [len(p) for p in (dataset.train_x, dataset.test)] == [2, 1]
    with open(tmp_path / "pictures.csv", "a") as file:
        file.write(",,\n")
    assert len(build(CSV=tmp_path / "pictures.csv").train_x) == 2


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("d.jpg,Cat,train", "these are one: 'Cat' and 'cat'"),
        ("d.jpg,_,train", "empty class name, '_'"),
        ("d.jpg,d\x1fg,train", r"'d\\x1fg', holds a tab, a line break or another control"),
        ('d.jpg,"dog\ncat",train', r"'dog\\ncat', holds a tab"),
        ("a.jpg,dog,train", r"1 images have several classes: a\.jpg"),
        ("./a.jpg,cat,test", r"1 training images are in val or test too: a\.jpg"),
        ("x/../a.jpg,cat,valid", r"1 training images are in val or test too: a\.jpg"),
        ('d.jpg,"cat,train', "line 5: unexpected end of data"),
    ],
)
def test_csv_rows_that_would_mislead(row, message, tmp_path):
    (tmp_path / "x").mkdir()
    with pytest.raises(InputError, match=message):
        build(CSV=table(tmp_path, [*GOOD, row]))


def test_csv_naming_an_image_twice_says_so(tmp_path, capsys):
    assert len(build(CSV=table(tmp_path, [*GOOD, "a.jpg,cat,train"])).train_x) == 3
    assert "1 images are listed more than once: a.jpg" in capsys.readouterr().out


def test_csv_may_name_images_anywhere_and_it_is_said_once(tmp_path, capsys):
    folder = tmp_path / "here"
    folder.mkdir()
    picture(tmp_path / "elsewhere/d.jpg")
    rows = [*GOOD, "../elsewhere/d.jpg,dog,train", f"{tmp_path}/elsewhere/e.jpg,dog,test"]
    assert len(build(CSV=table(folder, rows)).train_x) == 3
    assert capsys.readouterr().out.count("2 images lie outside of") == 1


def test_csv_with_test_rows_alone_is_test_only(tmp_path):
    rows = ["path,label,split", "a.jpg,cat,test", "b.jpg,dog,test"]
    assert build(2, CSV=table(tmp_path, rows)).test_only
    assert not build(CSV=table(tmp_path, GOOD)).test_only


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_csv_and_class_names_in_another_encoding(encoding, two_level):
    path = table(two_level, [*GOOD, "d.jpg,bär,train"], encoding)
    with pytest.raises(InputError, match=r"pictures\.csv is not UTF-8.*CSV UTF-8"):
        build(CSV=path)
    (two_level / "names.txt").write_text("cat Bär\n", encoding=encoding)
    with pytest.raises(InputError, match=r"names\.txt is not UTF-8"):
        build(DIR=two_level, CLASSNAMES=two_level / "names.txt")


def test_class_names_with_a_byte_order_mark_and_lines_for_no_class(two_level, capsys):
    (two_level / "names.txt").write_text("cat house cat\nemu bird\n", encoding="utf-8-sig")
    dataset = build(DIR=two_level, CLASSNAMES=two_level / "names.txt")
    assert dataset.classnames == ["house cat", "dog", "owl"]
    assert "names what is no class: emu" in capsys.readouterr().out


def test_class_names_that_name_a_class_twice_or_are_one(two_level):
    lines(two_level / "names.txt", ["cat house cat", "cat wild cat"])
    with pytest.raises(InputError, match="names 'cat' twice, 'house cat' and 'wild cat'"):
        build(DIR=two_level, CLASSNAMES=two_level / "names.txt")
    lines(two_level / "names.txt", ["cat\tDOG"])
    with pytest.raises(InputError, match="'DOG' and 'dog'"):
        build(DIR=two_level, CLASSNAMES=two_level / "names.txt")


def test_folders_that_are_numbers_are_numbered_by_value(tmp_path):
    names = [str(number) for number in range(12)]
    class_folders(tmp_path / "train", names, 1)
    class_folders(tmp_path / "test", ["11", "2", "10"], 1)
    dataset = build(DIR=tmp_path)
    assert dataset.classnames == names
    assert [i.label for i in dataset.test] == [2, 10, 11]
    class_folders(tmp_path / "train", ["x"], 1)
    assert build(DIR=tmp_path).classnames == sorted([*names, "x"])


def test_labels_that_are_one_number_are_refused(tmp_path):
    rows = ["path,label,split", "a.jpg,1,train", "b.jpg,01,train", "c.jpg,1,test"]
    with pytest.raises(InputError, match="labels 01 and 1 are one number"):
        build(CSV=table(tmp_path, rows))
    class_folders(tmp_path / "folders", ["1", "01", "2"], 10)
    with pytest.raises(InputError, match="labels 01 and 1 are one number"):
        build(DIR=tmp_path / "folders")


@pytest.mark.parametrize("val", ["val", "valid", "Validation"])
def test_parts_by_their_usual_names_in_any_case(val, two_level):
    (two_level / "train").rename(two_level / "Train")
    (two_level / "test").rename(two_level / "TEST")
    class_folders(two_level / val, ["dog"], 2)
    dataset = build(DIR=two_level)
    assert [len(p) for p in (dataset.train_x, dataset.val, dataset.test)] == [18, 2, 9]


def test_two_folders_of_one_part_are_refused(two_level):
    class_folders(two_level / "val", ["dog"], 2)
    class_folders(two_level / "valid", ["dog"], 2)
    with pytest.raises(InputError, match="has val and valid, which mean the same"):
        build(DIR=two_level)


def test_other_folders_beside_the_parts_are_named(two_level, capsys):
    class_folders(two_level / "extra", ["dog"], 2)
    (two_level / "__MACOSX").mkdir()
    build(DIR=two_level)
    out = capsys.readouterr().out
    assert "left out, neither train, val nor test with class folders: extra\n" in out


def test_wrapping_folders_are_entered_and_said(tmp_path, capsys):
    class_folders(tmp_path / "archive/pictures/train", ["cat", "dog"], 2)
    class_folders(tmp_path / "archive/pictures/test", ["cat", "dog"], 2)
    assert len(build(DIR=tmp_path).train_x) == 4
    assert "holds the one folder pictures, which is read instead" in capsys.readouterr().out
    class_folders(tmp_path / "other", ["cat"], 2)
    with pytest.raises(InputError, match=r"archive holds no images but the folders pictures"):
        build(DIR=tmp_path)


def test_folders_inside_of_class_folders_are_named(two_level, capsys):
    class_folders(two_level / "train/cat", ["more"], 2)
    assert len(build(DIR=two_level).train_x) == 18
    assert "left out, folders inside of a class folder: more" in capsys.readouterr().out


def test_what_is_named_like_an_image_but_is_no_file(two_level):
    (two_level / "test/owl/link.png").symlink_to("gone.png")
    with pytest.raises(InputError, match=r"is no file .*link\.png"):
        build(DIR=two_level)
    (two_level / "test/owl/link.png").unlink()
    os.mkfifo(two_level / "test/owl/x.png")
    with pytest.raises(InputError, match=r"is no file .*x\.png"):
        build(DIR=two_level)


def test_a_class_folder_whose_name_is_not_utf8(two_level, tmp_path, capsys):
    for part in ("train", "test"):
        os.rename(two_level / part / "owl", os.path.join(os.fsencode(two_level / part), b"caf\xe9"))
    dataset = build(2, DIR=two_level, OUTPUT=tmp_path / "output")
    assert dataset.classnames[0] == "caf\udce9"
    (record,) = (tmp_path / "output").glob("few_shot_*.json")
    rows = json.loads(record.read_text())["train"]
    assert {os.path.join(two_level, path) for path, _, _ in rows} == {
        i.impath for i in dataset.train_x
    }
    assert "cannot be printed: 'caf\\udce9'" in capsys.readouterr().out
    assert main(["--pictures", str(two_level)]) == 0
    (two_level / "test/dog/caf\udce9.jpg").write_text("broken")
    assert main(["--pictures", str(two_level)]) == 1
    assert "caf\\udce9.jpg" in capsys.readouterr().out


# -- links, and what lies in no class


def linked(folder, name, target):
    (folder / name).symlink_to(target, target_is_directory=True)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda d: linked(d, "test", "train"), "training images are in val or test too"),
        (lambda d: linked(d / "train", "kitten", "cat"), "images have several classes"),
        (
            lambda d: (
                class_folders(d / "test", ["dog"], 1),
                (d / "test/dog/again.jpg").symlink_to(d / "train/dog/dog_0000.jpg"),
            ),
            "training images are in val or test too",
        ),
    ],
)
def test_an_image_is_one_however_it_is_reached(make, says, tmp_path):
    class_folders(tmp_path / "train", ["cat", "dog"], 6)
    make(tmp_path)
    with pytest.raises(InputError, match=says):
        build(DIR=tmp_path)


@pytest.mark.parametrize("where", ["", "train"])
def test_a_link_to_what_is_not_there_is_no_missing_class(where, tmp_path):
    class_folders(tmp_path / where, ["cat", "dog"], 6)
    linked(tmp_path / where, "horse", "/mnt/not/mounted")
    with pytest.raises(
        InputError, match=r"horse is a link to /mnt/not/mounted, which is not there"
    ):
        build(DIR=tmp_path)


def test_images_beside_class_folders_are_said(tmp_path, capsys):
    class_folders(tmp_path / "train", ["cat", "dog"], 6)
    picture(tmp_path / "train/loose.jpg")
    picture(tmp_path / "stray.jpg")
    build(DIR=tmp_path)
    said = capsys.readouterr().out
    assert f"{tmp_path / 'train'}: left out, images in no class folder: loose.jpg\n" in said
    assert f"{tmp_path}: left out, images in no class folder: stray.jpg\n" in said


def test_parts_without_class_folders_are_no_classes(tmp_path):
    class_folders(tmp_path, ["train", "test"], 6)
    with pytest.raises(InputError, match="test and train hold pictures but no class folders"):
        build(DIR=tmp_path)


def test_a_class_that_is_named_like_a_part_is_not_guessed(tmp_path):
    class_folders(tmp_path, ["bus", "car", "train"], 6)
    assert build(DIR=tmp_path).classnames == ["bus", "car", "train"]
    class_folders(tmp_path / "train", ["rejected"], 6)
    with pytest.raises(InputError, match=r"train holds class folders, and beside it .* bus, car"):
        build(DIR=tmp_path)


def test_classes_that_are_not_tested_are_said(two_level, capsys):
    for image in (two_level / "test/cat").iterdir():
        image.unlink()
    (two_level / "test/cat").rmdir()
    build(DIR=two_level)
    assert "MyImages: no test images of cat: no accuracy is of them.\n" in capsys.readouterr().out


def test_a_run_does_not_write_among_its_pictures(tmp_path):
    class_folders(tmp_path, ["cat", "dog"], 6)
    with pytest.raises(InputError, match=r"output folder .*out lies among the pictures"):
        build(DIR=tmp_path, OUTPUT=tmp_path / "out")
    (tmp_path / "out").rmdir()
    class_folders(tmp_path / "train", ["cat", "dog"], 6)
    with pytest.raises(InputError, match=r"output folder .*out lies among the pictures"):
        build(DIR=tmp_path, OUTPUT=tmp_path / "train/out")
    (tmp_path / "train/out").rmdir()
    for name in ("cat", "dog"):
        shutil.rmtree(tmp_path / name)
    assert build(DIR=tmp_path, OUTPUT=tmp_path / "out").classnames == ["cat", "dog"]


def test_a_half_without_test_images_is_named(tmp_path):
    class_folders(tmp_path / "train", ["cat", "dog"], 6)
    class_folders(tmp_path / "test", ["cat"], 3)
    with pytest.raises(InputError, match=r"no test images of the new classes, dog\."):
        build(subset="new", DIR=tmp_path)


def test_a_class_without_training_images_is_named(tmp_path):
    class_folders(tmp_path, ["cat", "cow"], 2)
    lines(
        tmp_path / "list.csv",
        ["path,label,split", "cat/cat_0000.jpg,cat,train", "cow/cow_0000.jpg,cow,test"],
    )
    with pytest.raises(InputError, match=r"labels without: 1 \['cow'\]"):
        build(CSV=tmp_path / "list.csv")
