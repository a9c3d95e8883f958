"""`python -m datasets.check`: what it calls complete, and what it says otherwise."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dassl.data.datasets import DATASET_REGISTRY
from PIL import Image

from datasets.check import check, check_pictures, main
from datasets.pictures import UNREADABLE, flaw_of
from datasets.recipe import Piece, Source
from tests.datasets.miniature import TREES, class_folders, lines
from tests.datasets.test_few_shot import SHARED

FGVC = DATASET_REGISTRY.get("FGVCAircraft")


@pytest.fixture
def small_fgvc(tmp_path, monkeypatch):
    """A complete miniature of a dataset without a split file, published as being that small."""
    TREES["FGVCAircraft"](tmp_path)
    (piece,) = FGVC.recipe.pieces
    sums = {
        name: hashlib.sha256((tmp_path / "fgvc_aircraft" / name).read_bytes()).hexdigest()
        for name in piece.sums
    }
    small = replace(
        FGVC.recipe, classes=3, train=18, val=15, test=12, pieces=(replace(piece, sums=sums),)
    )
    monkeypatch.setattr(FGVC, "recipe", small)
    return tmp_path


def test_complete(small_fgvc, capsys):
    assert main(["fgvc_aircraft", "--root", str(small_fgvc)]) == 0
    line = capsys.readouterr().out.splitlines()[2]
    assert line.split() == ["FGVCAircraft", "yes", "3", "18", "15", "12"]


def test_missing_and_unreadable_images_are_named(small_fgvc, capsys):
    images = sorted((small_fgvc / "fgvc_aircraft/images").iterdir())
    images[0].unlink()
    os.truncate(images[1], images[1].stat().st_size // 2)
    images[2].write_text("not an image")
    images[3].write_bytes(b"")
    assert main(["FGVCAircraft", "--root", str(small_fgvc)]) == 1
    out = capsys.readouterr().out
    assert f"1 images are missing: {images[0].name}." in out
    assert f"3 images cannot be read: {', '.join(i.name for i in images[1:4])}." in out
    assert "next: Put good copies" in out
    assert main(["FGVCAircraft", "--root", str(small_fgvc), "--names-only"]) == 1
    assert "cannot be read" not in capsys.readouterr().out


def test_counts_that_are_not_the_published_ones(small_fgvc):
    path = small_fgvc / "fgvc_aircraft/images_variant_val.txt"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    report = check("FGVCAircraft", FGVC, str(small_fgvc))
    assert report.counts == ("3", "18", "14 of 15", "12")
    assert f"{path} differs from the published split" in report.problems[0]
    assert "not the published ones" in report.problems[1]


def test_missing_dataset_and_no_name(tmp_path, capsys):
    assert main(["--root", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    for name in TREES:
        assert f"python -m datasets.download {name} --root {tmp_path}" in out


def test_missing_root(tmp_path, capsys):
    for flag, kind in (("--root", "folder"), ("--pictures", "folder"), ("--csv", "file")):
        assert main(["dtd", flag, str(tmp_path / "absent")]) == 2
        assert f"absent does not exist as a {kind}. {flag} names" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert main(["dtd", "--root", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path}/file is no folder.")


def test_unknown_name(tmp_path, capsys):
    assert main(["caltech", "--root", str(tmp_path)]) == 2
    assert "Did you mean caltech101" in capsys.readouterr().err


def test_own_split_and_changed_split_are_not_complete(tmp_path, monkeypatch):
    dataset = DATASET_REGISTRY.get("EuroSAT")
    TREES["EuroSAT"](tmp_path)
    report = check("EuroSAT", dataset, str(tmp_path))
    assert "There is no split_zhou_EuroSAT.json" in report.problems[0]
    (tmp_path / "eurosat/split_zhou_EuroSAT.json").write_text('{"train":[],"val":[],"test":[]}')
    report = check("EuroSAT", dataset, str(tmp_path))
    assert "differs from the published split" in report.problems[0]
    piece = Piece(("split_zhou_EuroSAT.json",), (Source("http://localhost/", sha256="0" * 64),))
    monkeypatch.setattr(dataset, "recipe", replace(dataset.recipe, pieces=(piece,)))
    assert "differs" not in " ".join(check("EuroSAT", dataset, str(tmp_path)).problems)


MISPLACED = {
    "in itself": ("StanfordCars", "stanford_cars/cars_train/cars_train", "cars_train"),
    "in its name": ("SUN397", "sun397/SUN397/SUN397", "SUN397"),
    "in itself as in the archive": ("EuroSAT", "eurosat/2750/EuroSAT_RGB", "2750"),
    "named as in the archive": ("EuroSAT", "eurosat/EuroSAT_RGB", "2750"),
    "sketch": ("ImageNetSketch", "imagenet-sketch/sketch", "images"),
    "other case": ("UCF101", "ucf101/ucf-101-MidFrames", "UCF-101-midframes"),
    "archive's folder": ("DescribableTextures", "dtd/dtd/images", "images"),
    "two folders around": (
        "FGVCAircraft",
        "fgvc_aircraft/fgvc-aircraft-2013b/data/images",
        "images",
    ),
    "right in the root": ("EuroSAT", "EuroSAT_RGB", "2750"),
    "same name but case": ("SUN397", "SUN397", "SUN397"),
    "dataset's folder respelt": ("Food101", "food101/images", "images"),
    "split file too high": ("DescribableTextures", "split_zhou_DescribableTextures.json", ""),
    "Kaggle": ("ImageNet", "imagenet/ILSVRC/Data/CLS-LOC/train", "images/train"),
    "ImageNet without images/": ("ImageNet", "imagenet/val", "images/val"),
}


@pytest.mark.parametrize("case", MISPLACED)
def test_misplaced_copies_are_recognised_and_the_command_mends_them(case, tmp_path):
    name, found, expected = MISPLACED[case]
    root = tmp_path / "my data"
    dataset = DATASET_REGISTRY.get(name)
    expected = root / dataset.dataset_dir / (expected or dataset.split_file)
    content = root / found if found.endswith(".json") else root / found / "n01440764/picture.JPEG"
    content.parent.mkdir(parents=True)
    content.write_bytes(b"mine")
    report = check(name, dataset, str(root))
    assert any("should be" in problem for problem in report.problems), report
    steps = [step for step in report.next_steps if " mv " in f" {step} "]
    assert len(steps) == 1
    subprocess.run(steps[0], shell=True, check=True)
    kept = [path for path in root.rglob("*") if path.is_file()]
    assert [path.read_bytes() for path in kept] == [b"mine"]
    assert kept[0] == expected or expected in kept[0].parents
    assert "should be" not in " ".join(check(name, dataset, str(root)).problems)


def test_a_root_that_is_the_dataset_itself(tmp_path):
    TREES["EuroSAT"](tmp_path)
    report = check("EuroSAT", DATASET_REGISTRY.get("EuroSAT"), str(tmp_path / "eurosat"))
    assert report.next_steps == [f"Pass --root {tmp_path}"]


def test_whole_miniatures_are_not_called_misplaced(tmp_path):
    for name, build in TREES.items():
        build(tmp_path)
        report = check(name, DATASET_REGISTRY.get(name), str(tmp_path), decode=False)
        assert "should be" not in " ".join(report.problems)


def test_flat_validation_pictures_of_imagenet(tmp_path):
    folder = tmp_path / "imagenet"
    (folder / "images/val").mkdir(parents=True)
    (folder / "images/val/ILSVRC2012_val_00000001.JPEG").touch()
    dataset = DATASET_REGISTRY.get("ImageNet")
    report = check("ImageNet", dataset, str(tmp_path))
    assert "1 pictures that are in no class folder" in report.problems[0]
    command = f"python -m datasets.download ImageNet --root {tmp_path}"
    assert report.next_steps == [
        f"Put ILSVRC2012_devkit_t12.tar.gz (from https://image-net.org) into {folder}, then {command}"
    ]
    (folder / "ILSVRC2012_devkit_t12.tar.gz").touch()
    assert check("ImageNet", dataset, str(tmp_path)).next_steps == [command]


def test_ctrl_c_prints_no_traceback(tmp_path, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("datasets.check.check", interrupt)
    assert main(["dtd", "--root", str(tmp_path)]) == 130
    assert capsys.readouterr().err.strip() == "Stopped."


def test_own_pictures(tmp_path, capsys):
    class_folders(tmp_path / "train", ["cat", "dog"], 3)
    class_folders(tmp_path / "test", ["cat", "dog"], 2)
    assert main(["--pictures", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[2].split() == [
        "MyImages",
        "yes",
        "2",
        "6",
        "0",
        "4",
    ]
    (tmp_path / "train/cat/cat_0001.jpg").write_text("broken")
    report = check_pictures(str(tmp_path))
    assert report.problems == ["1 images cannot be read: train/cat/cat_0001.jpg."]


def test_pictures_of_more_than_8_bits_are_named(tmp_path, capsys):
    class_folders(tmp_path / "test", ["cat", "dog"], 1)
    ramp = np.arange(240, dtype=np.float32).reshape(12, 20)
    cat = tmp_path / "test/cat"
    for name, pixels in {
        "ct.png": ramp.astype(np.uint16) * 250,
        "ct.tif": ramp.astype(np.uint16) * 250,
        "deep.tif": ramp.astype(np.int32) * 10**6,
        "float.tif": ramp / 240,
    }.items():
        Image.fromarray(pixels).save(cat / name)
    (cat / "ct.pgm").write_bytes(b"P5 20 12 65535\n" + bytes(480))
    assert main(["--pictures", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "3 images have 16 bits, which are scaled to 8: test/cat/ct.pgm, test/cat/ct.png" in out
    assert "2 images have numbers of no known range" in out
    assert "test/cat/deep.tif, test/cat/float.tif." in out
    for name in ("deep.tif", "float.tif"):
        (cat / name).unlink()
    assert main(["--pictures", str(tmp_path)]) == 0
    assert "3 images have 16 bits" in capsys.readouterr().out


def test_pictures_that_would_fill_the_memory_are_named(tmp_path):
    """Not by their bytes: enlarged so that the shorter side has 224 pixels, one has two billion."""
    class_folders(tmp_path / "test", ["cat", "dog"], 1)
    Image.new("RGB", (40_000, 1)).save(tmp_path / "test/cat/wide.png")
    report = check_pictures(str(tmp_path))
    assert len(report.problems) == 1
    assert "1 images are too large" in report.problems[0]
    assert "test/cat/wide.png" in report.problems[0]
    assert report.next_steps == ["Make these images smaller, or cut them."]


@pytest.mark.parametrize("decode", [True, False])
def test_pipe_named_like_an_image_is_named_and_not_waited_for(decode, small_fgvc):
    image = min((small_fgvc / "fgvc_aircraft/images").iterdir())
    image.unlink()
    os.mkfifo(image)
    report = check("FGVCAircraft", FGVC, str(small_fgvc), decode)
    assert report.problems == [f"1 images are missing: {image.name}."]
    assert flaw_of(str(image)) == UNREADABLE


def test_own_pictures_by_csv_and_class_names(tmp_path, capsys):
    class_folders(tmp_path / "pictures", ["cat", "dog"], 2)
    rows = ["path,label,split"]
    for name in ("cat", "dog"):
        rows += [
            f"pictures/{name}/{name}_000{i}.jpg,{name},{s}" for i, s in ((0, "train"), (1, "test"))
        ]
    lines(tmp_path / "pictures.csv", rows)
    command = ["--csv", str(tmp_path / "pictures.csv")]
    assert main(command) == 0
    lines(tmp_path / "names.txt", ["cat\tDog"])
    assert main([*command, "--classnames", str(tmp_path / "names.txt")]) == 1
    assert "'Dog' and 'dog'" in capsys.readouterr().out
    (tmp_path / "pictures/cat/cat_0001.jpg").unlink()
    assert main(command) == 1
    assert "1 images are missing: pictures/cat/cat_0001.jpg." in capsys.readouterr().out


def test_rules_of_runs_are_those_of_the_check(tmp_path):
    dataset = DATASET_REGISTRY.get("EuroSAT")
    TREES["EuroSAT"](tmp_path)
    row = ["../../secret.jpg", 0, "Forest"]
    split = {"train": [row], "val": [], "test": [row]}
    (tmp_path / "eurosat/split_zhou_EuroSAT.json").write_text(json.dumps(split))
    report = check("EuroSAT", dataset, str(tmp_path))
    assert "outside of" in report.problems[1]


def test_caltech101_is_complete_and_the_first_missing_file_is_named(tmp_path, capsys):
    source = SHARED / "data/caltech-101"
    if not source.is_dir():
        pytest.skip(f"no Caltech101 photographs in {source}")
    folder = tmp_path / "caltech-101"
    (folder / "101_ObjectCategories").mkdir(parents=True)
    shutil.copy(source / "split_zhou_Caltech101.json", folder)
    for each in (source / "101_ObjectCategories").iterdir():
        (folder / "101_ObjectCategories" / each.name).symlink_to(each)
    assert main(["caltech101", "--root", str(tmp_path)]) == 0
    ant = folder / "101_ObjectCategories/ant"
    images = Path(os.readlink(ant))
    ant.unlink()
    ant.mkdir()
    for image in sorted(images.iterdir())[1:]:
        (ant / image.name).symlink_to(image)
    capsys.readouterr()
    assert main(["caltech101", "--root", str(tmp_path), "--names-only"]) == 1
    assert "1 images are missing: ant/image_0001.jpg." in capsys.readouterr().out
