"""Every dataset through train.py, with the built-in CLIP, and the worked example of the docs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

import train
from prompting.errors import InputError
from tests import tiny_clip
from tests.datasets.miniature import TREES, class_folders, lines
from tests.datasets.test_datasets import REPOSITORY
from tests.datasets.test_few_shot import SHARED

TEXT = {**tiny_clip.TEXT, "transformer_width": 64, "transformer_heads": 1, "embed_dim": 32}
DEEP = {
    **TEXT,
    "transformer_layers": 9,
    "image_resolution": 224,
    "vision_layers": 9,
    "vision_width": 64,
    "vision_patch_size": 56,
}
"""As deep and seeing images as large as the published configurations want."""


@pytest.fixture(scope="module")
def write_clip(tmp_path_factory):
    """Writes a random CLIP of a size and returns the path."""

    def write(size):
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(tiny_clip.SIZES, "TEST", size)
            return tiny_clip.write(tmp_path_factory.mktemp("clip"), "TEST")

    return write


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run of train.py with ``arguments``; returns what results.json says."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "stdout", sys.stdout)  # the logger replaces it

    def train_py(dataset, *arguments, trainer="ZeroshotCLIP", folder="output"):
        config = next(
            path
            for path in (REPOSITORY / "configs/datasets").glob("*.yaml")
            if f'NAME: "{dataset}"' in path.read_text()
        )
        output = tmp_path / folder
        flags = ["--dataset-config-file", str(config), "--output-dir", str(output)]
        flags += ["--seed", "1", "--trainer", trainer, "--backbone", "builtin-vit-small"]
        small = ["INPUT.SIZE", "(48,48)", "DATALOADER.NUM_WORKERS", "0", "USE_CUDA", "False"]
        small += ["INPUT.TRANSFORMS", "('random_resized_crop','random_flip','normalize')"]
        split = next(
            (i for i, a in enumerate(arguments) if re.match("[A-Z]+\\.", a)), len(arguments)
        )
        train.main([*flags, *arguments[:split], *small, *arguments[split:]])
        return json.loads((output / "results.json").read_text())

    return train_py


@pytest.mark.parametrize("name", TREES)
def test_every_dataset_is_tested(name, run, tmp_path):
    expected = TREES[name](tmp_path)
    results = run(name, "--root", str(tmp_path), "--eval-only")
    assert results["dataset"] == name
    assert results["total"] == expected.per_class[2] * len(expected.names)


def test_own_pictures_base_to_new_few_shot_and_all_classes(run, tmp_path):
    class_folders(tmp_path / "pictures/train", ["cat", "dog", "owl"], 6)
    class_folders(tmp_path / "pictures/test", ["cat", "dog", "owl"], 3)
    short = ["OPTIM.MAX_EPOCH", "1", "DATALOADER.TRAIN_X.BATCH_SIZE", "4"]
    options = ["DATASET.DIR", str(tmp_path / "pictures"), "TRAINER.COOP.PREC", "fp32", *short]
    few_shot = [*options, "DATASET.NUM_SHOTS", "2"]
    totals = {}
    for subset in ("all", "base"):
        options = [*few_shot, "DATASET.SUBSAMPLE_CLASSES", subset]
        totals[subset] = run("MyImages", *options, trainer="CoOp", folder=subset)["total"]
    options = ["--eval-only", "--model-dir", str(tmp_path / "base"), "--load-epoch", "1", *few_shot]
    options += ["DATASET.SUBSAMPLE_CLASSES", "new"]
    totals["new"] = run("MyImages", *options, trainer="CoOp", folder="new")["total"]
    assert totals == {"all": 9, "base": 6, "new": 3}


def only_test_folder(folder):
    class_folders(folder / "test", ["cat", "dog"], 2)
    return "MyImages", ["DATASET.DIR", str(folder)]


def only_test_rows(folder):
    class_folders(folder, ["cat", "dog"], 2)
    rows = [f"{p.relative_to(folder)},{p.parent.name},test" for p in sorted(folder.rglob("*.jpg"))]
    lines(folder / "pictures.csv", ["path,label,split", *rows])
    return "MyImages", ["DATASET.CSV", str(folder / "pictures.csv")]


def split_without_training_images(folder):
    TREES["EuroSAT"](folder)
    rows = [["Forest/Forest_0000.jpg", 0, "Forest"], ["SeaLake/SeaLake_0000.jpg", 1, "Lake"]]
    split = {
        "train": [],
        "val": [],
        "test": [*rows, *([f"{r[0][:-5]}1.jpg", *r[1:]] for r in rows)],
    }
    (folder / "eurosat/split_zhou_EuroSAT.json").write_text(json.dumps(split))
    return "EuroSAT", ["--root", str(folder)]


@pytest.mark.parametrize("make", [only_test_folder, only_test_rows, split_without_training_images])
def test_without_training_images_training_is_refused_and_testing_works(make, run, tmp_path):
    dataset, options = make(tmp_path / "pictures")
    options += ["TRAINER.COOP.PREC", "fp32"]
    with pytest.raises(InputError, match=f"{dataset} has test images, but no training images"):
        run(dataset, *options, trainer="CoOp", folder="train")
    assert not list((tmp_path / "train").rglob("*.pth*"))
    assert run(dataset, "--eval-only", *options, trainer="CoOp", folder="test")["total"] == 4


@pytest.mark.slow
def test_caltech101_photographs_base_new_few_shot_and_all(run, tmp_path):
    root = SHARED / "data"
    if not (root / "caltech-101").is_dir():
        pytest.skip(f"no Caltech101 photographs in {root}")
    for subset, total in (("base", 1549), ("new", 916)):
        options = ["--root", str(root), "--eval-only", "DATASET.SUBSAMPLE_CLASSES", subset]
        assert run("Caltech101", *options, folder=subset)["total"] == total
    options = ["--root", str(root), "TRAINER.COOP.PREC", "fp32", "OPTIM.MAX_EPOCH", "1"]
    options += ["DATASET.NUM_SHOTS", "1", "DATALOADER.TRAIN_X.BATCH_SIZE", "25"]
    assert run("Caltech101", *options, trainer="CoOp", folder="few")["total"] == 2465


def commands(page):
    """The lines of the fenced bash blocks of a page of the documentation."""
    text = (REPOSITORY / "docs" / page).read_text(encoding="utf-8")
    return "".join(re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL))


@pytest.mark.slow
def test_worked_example_of_the_documentation(tmp_path, write_clip):
    """All commands of docs/own_pictures.md, as printed there; only the settings on top differ."""
    pictures = tmp_path / "my pictures"
    class_folders(pictures / "train", ["tabby", "beagle", "barn_owl", "red_fox"], 5)
    class_folders(pictures / "test", ["tabby", "beagle", "barn_owl", "red_fox"], 2)
    script = commands("own_pictures.md")
    settings = {"PICTURES": pictures, "BACKBONE": write_clip(DEEP), "PRECISION": "fp32"}
    for name, value in settings.items():
        script, count = re.subn(rf"^{name}=\S+", f"{name}='{value}'", script, flags=re.MULTILINE)
        assert count == 1
    script = script.replace("output/", f"{tmp_path}/output/")
    python = f'python() {{ "{sys.executable}" "$@"; }}'
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f"{python}\n{script}"],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert done.stdout.count("=> result") == script.count("train.py")
    assert len(list(tmp_path.glob("output/**/results.json"))) == script.count("train.py")
