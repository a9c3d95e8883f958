"""A miniature Caltech101 on disk, a tiny CLIP, and one call that runs train.py on them."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from dassl.engine import TRAINER_REGISTRY, build_trainer
from PIL import Image

import train
from prompting.backbone import load_clip
from tests import tiny_clip
from trainers import PromptTrainer

CLASSES = ["ant", "barrel", "cougar_face", "dollar bill", "ewer", "ferry"]
SETTINGS = {
    "INPUT.SIZE": "(32, 32)",
    "DATASET.NUM_SHOTS": "4",
    "DATALOADER.NUM_WORKERS": "0",
    "DATALOADER.TRAIN_X.BATCH_SIZE": "4",
    "OPTIM.NAME": "sgd",
    "OPTIM.LR": "0.0025",
    "OPTIM.MAX_EPOCH": "3",
    "OPTIM.LR_SCHEDULER": "cosine",
    "OPTIM.WARMUP_EPOCH": "1",
    "OPTIM.WARMUP_TYPE": "constant",
    "INPUT.TRANSFORMS": "('random_resized_crop', 'random_flip', 'normalize')",
}
# of methods' own keys, as far as a tiny CLIP goes
SMALL = {
    "PREC": "fp32",
    "N_CTX": "4",
    "PROMPT_DEPTH": "3",
    "PROMPT_DEPTH_TEXT": "3",
    "PROMPT_DEPTH_VISION": "2",
    "GPA_MEAN": "2",
    "DESCRIPTIONS": "tests/fixtures/descriptions.json",
}
METHODS = {
    name: trainer
    for name in sorted(TRAINER_REGISTRY.registered_names())
    if issubclass(trainer := TRAINER_REGISTRY.get(name), PromptTrainer)
}
LEARNING = [name for name, trainer in METHODS.items() if trainer.learns]
STEPPING = [name for name in LEARNING if METHODS[name].by_steps]
READING = [name for name in LEARNING if METHODS[name].model_class.uses_text]


def settings_of(method: str) -> dict[str, str]:
    """Settings for a tiny CLIP: of all methods, of this one on the built-in CLIP, and small."""
    settings = dict(SETTINGS)
    if method not in METHODS:
        return settings
    trainer = METHODS[method]
    path = Path("configs/trainers", method, "builtin.yaml")
    builtin = yaml.safe_load(path.read_text())["TRAINER"] if path.is_file() else {}
    settings["DATALOADER.K_TRANSFORMS"] = str(trainer.views)
    for node, defaults in trainer.nodes().items():
        own = {key: str(value) for key, value in builtin.get(node, {}).items()}
        own |= {key: value for key, value in SMALL.items() if key in defaults}
        settings |= {f"TRAINER.{node}.{key}": value for key, value in own.items()}
    return settings


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    # tiny models gain nothing from threads, and figures must not depend on how many there are
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for tiny CLIPs; `tiny_clip.write` puts them there."""
    return tmp_path_factory.mktemp("backbones")


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with six classes of noisy pictures in Caltech101's layout."""
    root = tmp_path_factory.mktemp("data")
    folder = root / "caltech-101"
    random = np.random.default_rng(0)
    split: dict[str, list] = {"train": [], "val": [], "test": []}
    for label, name in enumerate(CLASSES):
        (folder / "101_ObjectCategories" / name).mkdir(parents=True)
        tint = random.integers(0, 256, 3)
        for index, part in enumerate(["train"] * 5 + ["val"] * 2 + ["test"] * 3):
            pixels = (random.integers(0, 256, (40, 48, 3)) + tint) // 2
            path = f"{name}/image_{index:04d}.jpg"
            Image.fromarray(pixels.astype(np.uint8)).save(folder / "101_ObjectCategories" / path)
            split[part].append([path, label, name])
    (folder / "split_zhou_Caltech101.json").write_text(json.dumps(split))
    return root


Run = Callable[..., Path]
Trained = Callable[[str], Path]


@cache
def teacher_of(data: Path, backbone: Path) -> Path:
    """The folder of a run that others learn from, beside the data."""
    # the same name may be that of another backbone in another folder
    output = data.parent / f"teacher-{backbone.parent.name}-{backbone.stem}"
    settings = {"OPTIM__MAX_EPOCH": "1", "TRAINER__PROMPTSRC__GPA_MEAN": "1"}
    settings["INPUT__SIZE"] = str((load_clip(str(backbone)).resolution,) * 2)
    base = {"DATASET__SUBSAMPLE_CLASSES": "base"}
    return call_train(data, backbone, output, "PromptSRC", **settings, **base)


def teacher_for(method: str, data: Path, backbone: Path) -> dict[str, str]:
    """The settings that name a teacher, for a method that needs one."""
    nodes = METHODS[method].nodes() if method in METHODS else {}
    return {
        f"TRAINER.{node}.TEACHER": str(teacher_of(data, backbone))
        for node, defaults in nodes.items()
        if "TEACHER" in defaults
    }


def call_train(
    data: Path, backbone: Path, output: Path, method: str, *flags: str, **settings: str
) -> Path:
    """train.py with small settings; KEY=value with __ for dots."""
    options = settings_of(method) | teacher_for(method, data, backbone)
    options |= {key.replace("__", "."): value for key, value in settings.items()}
    backbone = options.pop("MODEL.BACKBONE.NAME", str(backbone))
    root = options.pop("DATASET.ROOT", str(data))
    train.main(
        [
            *("--root", root, "--seed", "1", "--trainer", method, "--backbone", backbone),
            *("--dataset-config-file", "configs/datasets/caltech101.yaml"),
            *("--output-dir", str(output)),
            *flags,
            *(part for pair in options.items() for part in pair),
        ]
    )
    return output


@pytest.fixture
def run(data: Path, backbones: Path, tmp_path: Path) -> Run:
    """Call train.py: run(method, output name, *flags, KEY=value with __ for dots) -> output."""

    def call(method: str, output: str = "run", *flags: str, **settings: str) -> Path:
        backbone = tiny_clip.write(backbones)
        return call_train(data, backbone, tmp_path / output, method, *flags, **settings)

    return call


@pytest.fixture
def build(data: Path, backbones: Path, tmp_path: Path):
    """A trainer as train.py would build it."""

    def call(method: str, kind: str = "VIT", **settings: str):
        size = tiny_clip.SIZES[kind]["image_resolution"]
        backbone = tiny_clip.write(backbones, kind)
        options = settings_of(method) | {"INPUT.SIZE": f"({size}, {size})"}
        options |= teacher_for(method, data, backbone)
        options |= {key.replace("__", "."): value for key, value in settings.items()}
        arguments = train.parse_arguments(
            [
                *("--root", str(data), "--seed", "1", "--trainer", method),
                *("--backbone", str(backbone)),
                *("--dataset-config-file", "configs/datasets/caltech101.yaml"),
                *("--output-dir", str(tmp_path / "output")),
                *(part for pair in options.items() for part in pair),
            ]
        )
        return build_trainer(train.configure(arguments))

    return call


@pytest.fixture(scope="session")
def trained(data: Path, backbones: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The folder of a method's run on the base classes, made once; for reading only."""
    folder = tmp_path_factory.mktemp("trained")
    backbone = tiny_clip.write(backbones)

    @cache
    def of(method: str) -> Path:
        output = folder / method
        return call_train(data, backbone, output, method, DATASET__SUBSAMPLE_CLASSES="base")

    return of


def learned(output: Path, epoch: int = 3) -> dict[str, torch.Tensor]:
    """The tensors of a run's checkpoint."""
    (path,) = output.glob(f"*/model.pth.tar-{epoch}")
    return torch.load(path, weights_only=True)["state_dict"]


def accuracy(output: Path) -> float:
    """That of a run's test, in percent."""
    return json.loads((output / "results.json").read_text())["metrics"]["accuracy"]


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    """Equal to the last bit."""
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name
