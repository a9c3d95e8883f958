"""Runs that share a store of frozen features: the same numbers, nothing computed twice, never stale."""

from __future__ import annotations

import functools
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from dassl.data import data_manager
from PIL import Image
from torch import nn
from torchvision import transforms as T

from prompting import prompted_clip
from prompting.image_encoder import VisionTransformer
from tests import tiny_clip
from trainers import stored_images
from trainers.prompt_trainer import PromptTrainer
from trainers.stored_images import STORED
from trainers.transforms import describe

from .conftest import LEARNING, Run, Trained, accuracy, assert_same, learned
from .test_training import Killed, kill_at

TESTED, TRAINED, EPOCHS = 18, 24, 2
FILES = "caltech-101/101_ObjectCategories"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of this test's own, by the environment."""
    monkeypatch.setenv("PROMPT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The pictures that are opened from here on."""
    paths: list[str] = []
    read = data_manager.read_image
    monkeypatch.setattr(data_manager, "read_image", lambda path: paths.append(path) or read(path))
    return paths


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the batches that pass an image encoder without steering from here on, but for the
    one picture that proves a checkpoint."""
    sizes: list[int] = []
    outputs = VisionTransformer.outputs

    def counted(self, tokens, steering=None):
        if len(tokens) > 1 and not (steering and steering.acts):
            sizes.append(len(tokens))
        return outputs(self, tokens, steering)

    monkeypatch.setattr(VisionTransformer, "outputs", counted)
    return sizes


@pytest.fixture
def logits(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """The logits of tests from here on."""
    found: list[torch.Tensor] = []
    infer = PromptTrainer.model_inference

    def kept(self, images):
        found.append(infer(self, images))
        return found[-1]

    monkeypatch.setattr(PromptTrainer, "model_inference", kept)
    return found


def counts(output: Path) -> dict[str, dict[str, int]]:
    """What a run has read and computed, by its manifest."""
    found = json.loads((output / "manifest.json").read_text())["frozen_features"]
    return {use: count for use, count in (found or {}).items() if use != "folder"}


def zero_shot(run: Run, name: str, **settings: str) -> tuple[int, int]:
    """Zero-shot CLIP on the test images: features read and computed."""
    tests = counts(run("ZeroshotCLIP", name, "--eval-only", **settings))["tests"]
    return tests["read"], tests["computed"]


# -- tests --------------------------------------------------------------------------------------------


def test_a_second_test_opens_and_encodes_nothing(
    run: Run, trained: Trained, opened: list, encoded: list, logits: list
) -> None:
    base, source = {"DATASET__SUBSAMPLE_CLASSES": "base"}, trained("KgCoOp")
    flags = ("--eval-only", "--model-dir", str(source), "--load-epoch", "3")
    zero_shot(run, "first", **base)
    del opened[:], encoded[:], logits[:]
    stored = run("KgCoOp", "stored", *flags, **base, DATALOADER__TEST__BATCH_SIZE="4")
    assert not opened
    assert not encoded
    found = torch.cat(logits)
    del logits[:]
    plain = run("KgCoOp", "plain", *flags, **base, STORE__TESTS="False")
    assert len(opened) == sum(encoded) == TESTED // 2
    torch.testing.assert_close(found, torch.cat(logits), rtol=0, atol=1e-5)
    assert accuracy(stored) == accuracy(plain) == accuracy(source)
    assert counts(stored) == {"tests": {"read": TESTED // 2, "computed": 0}}
    assert counts(plain) == {}


def test_a_set_of_images_lacks_only_what_was_not_asked_for(run: Run, opened: list) -> None:
    """Base and new classes are parts of all, and a batch may have some of its features."""
    zero_shot(run, "new", DATASET__SUBSAMPLE_CLASSES="new")
    del opened[:]
    assert zero_shot(run, "all", DATALOADER__TEST__BATCH_SIZE="7") == (TESTED // 2, TESTED // 2)
    assert len(opened) == TESTED // 2
    assert zero_shot(run, "again", DATALOADER__NUM_WORKERS="3") == (TESTED, 0)


def test_validation_and_tests_in_between_are_encoded_once(run: Run, encoded: list) -> None:
    settings = {"TEST__EVERY": "1", "TEST__FINAL_MODEL": "best_val", **SHORT}
    output = run("CoOp", "tested", DATASET__SUBSAMPLE_CLASSES="base", **settings)
    assert counts(output)["tests"]["computed"] == TESTED + 6  # of both halves, and of validation
    assert counts(output)["tests"]["read"] == (EPOCHS - 1) * (TESTED + 6) + TESTED // 2


# -- never a wrong feature ----------------------------------------------------------------------------


@pytest.fixture
def copied(data: Path, tmp_path: Path) -> Path:
    """A data root of this test's own."""
    shutil.copytree(data, tmp_path / "data")
    return tmp_path / "data"


def replace_picture(path: Path) -> None:
    """Another picture of the same number of bytes and the same time."""
    before, old = path.stat(), path.read_bytes()
    Image.new("RGB", (40, 48), (9, 200, 30)).save(path, quality=30)
    path.write_bytes(path.read_bytes().ljust(len(old), b"\0"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def set_clock_back(path: Path) -> None:
    Image.new("RGB", (40, 48), (9, 200, 30)).save(path)
    os.utime(path, (1, 1))


@pytest.mark.parametrize("change", [replace_picture, set_clock_back])
def test_another_picture_under_the_same_name(
    change: Callable[[Path], None], copied: Path, run: Run, logits: list
) -> None:
    root = {"DATASET__ROOT": str(copied)}
    zero_shot(run, "before", **root)
    change(sorted((copied / FILES / "ant").glob("*.jpg"))[-1])
    del logits[:]
    assert zero_shot(run, "after", **root) == (TESTED - 1, 1)
    found = torch.cat(logits)
    del logits[:]
    run("ZeroshotCLIP", "plain", "--eval-only", **root, STORE__TESTS="False")
    torch.testing.assert_close(found, torch.cat(logits), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["versions", "computed_on"])
def test_other_packages_or_another_device(name: str, run: Run, monkeypatch) -> None:
    zero_shot(run, "first")
    monkeypatch.setattr(stored_images, name, lambda given: {"other": 1})
    assert zero_shot(run, "second") == (0, TESTED)


def test_another_backbone_precision_or_transform(run: Run, backbones: Path) -> None:
    zero_shot(run, "first")
    zero_shot(run, "again", SEED="2")
    other = {
        "MODEL.BACKBONE.NAME": str(tiny_clip.write(backbones, seed=8)),
        "TRAINER.ZEROSHOT.PREC": "bf16",
        "INPUT.INTERPOLATION": "bicubic",
        "INPUT.PIXEL_MEAN": "[0.4, 0.4, 0.4]",
    }
    for key, value in other.items():
        assert zero_shot(run, key, **{key: value}) == (0, TESTED), key
    # what only training images go through changes nothing
    assert zero_shot(run, "crops", INPUT__RRCROP_SCALE="(0.5, 1.0)") == (TESTED, 0)


def test_a_damaged_store_gives_the_same_logits(run: Run, folder: Path, logits: list) -> None:
    zero_shot(run, "first")
    whole = torch.cat(logits)
    for rows in folder.rglob("*.rows"):
        content = bytearray(rows.read_bytes())
        for place in range(100, len(content), 600):
            content[place] ^= 16
        rows.write_bytes(content)
    del logits[:]
    read, computed = zero_shot(run, "second")
    assert 0 < computed < TESTED == read + computed
    torch.testing.assert_close(torch.cat(logits), whole, rtol=0, atol=1e-5)


# -- training -----------------------------------------------------------------------------------------

SHORT = {"OPTIM__MAX_EPOCH": str(EPOCHS)}
SHARED = {"STORE__TRAINING": "True", **SHORT}


def final(output: Path) -> dict[str, torch.Tensor]:
    """What a run has learned."""
    return learned(output, EPOCHS)


def test_methods_share_training_images_whatever_their_batches(
    run: Run, opened: list, encoded: list
) -> None:
    first = run("CoOp", "first", **SHARED)
    assert counts(first)["training"] == {"read": 0, "computed": EPOCHS * TRAINED}
    batches = {"DATALOADER__TRAIN_X__BATCH_SIZE": "6"}
    del opened[:], encoded[:]
    second = run("TCP", "second", **SHARED, **batches, DATALOADER__NUM_WORKERS="0")
    assert counts(second)["training"] == {"read": EPOCHS * TRAINED, "computed": 0}
    assert not opened
    assert not encoded
    plain = run("TCP", "plain", **SHORT, **batches, STORE__TESTS="False", STORE__TEXTS="False")
    for name, tensor in final(plain).items():
        torch.testing.assert_close(final(second)[name], tensor, rtol=1e-4, atol=1e-5)
    assert accuracy(second) == accuracy(plain)
    assert counts(plain) == {}


def test_the_store_and_the_workers_change_no_bit_of_a_run(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it was empty, half full or full."""
    plain = final(run("CoCoOp", "plain", **SHORT))
    with monkeypatch.context() as patch:
        kill_at(patch, "CoOp", 8)
        with pytest.raises(Killed):
            run("CoOp", "half", **SHARED)
    for name, workers in (("half full", "0"), ("full", "3")):
        output = run("CoCoOp", name, **SHARED, DATALOADER__NUM_WORKERS=workers)
        assert_same(final(output), plain)
    assert counts(output)["training"] == {"read": EPOCHS * TRAINED, "computed": 0}


def test_another_seed_sees_other_augmentations(run: Run) -> None:
    first, other = (run("CoOp", seed, **SHARED, SEED=seed) for seed in "12")
    assert counts(other)["training"]["read"] == 0
    assert not torch.equal(final(other)["ctx"], final(first)["ctx"])


def test_images_that_never_change_are_shared_by_epochs_and_seeds(run: Run) -> None:
    fixed = {"INPUT__TRANSFORMS": "('center_crop', 'normalize')", **SHARED}
    first = run("CoOp", "first", **fixed)
    assert counts(first)["training"]["computed"] == TRAINED
    other = run("KgCoOp", "other", **fixed, SEED="2", DATASET__NUM_SHOTS="5")
    assert counts(other)["training"]["computed"] == 6  # one more of each class was drawn


def test_without_a_seed_nothing_is_shared_and_nothing_kept(run: Run, folder: Path) -> None:
    output = run("CoOp", "unseeded", **SHARED, SEED="-1", STORE__TESTS="False")
    assert counts(output) == {}
    assert not list(folder.rglob("*.rows"))


def test_loading_draws_nothing_whether_pictures_are_opened_or_not(build) -> None:
    def drawn(trainer) -> tuple:
        loader = trainer.stored.for_training(trainer.train_loader_x)
        for seeded in (random.seed, np.random.seed, torch.manual_seed):
            seeded(5)
        known = 0
        for batch in loader:
            known += len(batch[STORED]["known"])
            trainer.parse_batch_train(batch)
        return known, random.random(), np.random.rand(), torch.rand(3).tolist()

    empty, full = (drawn(build("CoOp", **SHARED)) for _ in range(2))
    assert (empty[0], full[0]) == (0, TRAINED)
    assert empty[1:] == full[1:]


# -- teachers -----------------------------------------------------------------------------------------


def test_the_rows_of_an_ablation_encode_each_teacher_image_once(run: Run, encoded: list) -> None:
    rows = (
        ("IVLP", {}),
        ("PromptSRC", {"GPA": "False", "TEACHER_TEMPLATES": "1"}),
        ("PromptSRC", {"TEACHER_TEMPLATES": "1"}),
        ("PromptSRC", {}),
    )
    outputs = [
        run(
            method,
            f"row{number}",
            **SHARED,
            **{f"TRAINER__PROMPTSRC__{k}": v for k, v in own.items()},
        )
        for number, (method, own) in enumerate(rows)
    ]
    computed = [counts(output).get("training", {}).get("computed") for output in outputs]
    assert computed == [None, EPOCHS * TRAINED, 0, 0]
    assert sum(encoded) == EPOCHS * TRAINED
    # and they are the features that the text-side methods train on
    assert counts(run("CoOp", "coop", **SHARED))["training"]["computed"] == 0


def test_a_trained_teacher_has_features_of_its_own(run: Run, data: Path) -> None:
    first = run("PromptKD", "first", **SHARED)
    assert counts(first)["training"]["computed"] == EPOCHS * TRAINED
    again = run("PromptKD", "again", **SHARED, TRAINER__PROMPTKD__KD_WEIGHT="3")
    assert counts(again)["training"] == {"read": EPOCHS * TRAINED, "computed": 0}
    zero_shot = run("PromptKD", "zero", **SHARED, TRAINER__PROMPTKD__TEACHER="zero-shot")
    assert counts(zero_shot)["training"]["read"] == 0


def test_a_teachers_texts_are_encoded_once(build, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    features = prompted_clip.template_features
    monkeypatch.setattr(
        prompted_clip,
        "template_features",
        lambda clip, templates, names: asked.append(names) or features(clip, templates, names),
    )
    of_all = build("PromptSRC").model.teacher_text()
    of_base = build("PromptSRC", DATASET__SUBSAMPLE_CLASSES="base").model.teacher_text()
    assert torch.equal(of_base, of_all[:3])
    assert len(asked) == 1
    build("PromptSRC", TRAINER__PROMPTSRC__TEACHER_TEMPLATES="7").model.teacher_text()
    plain = build("PromptSRC", STORE__TEXTS="False").model.teacher_text()
    assert len(asked) == 3
    torch.testing.assert_close(plain, of_all, rtol=0, atol=1e-6)


# -- what may be served -------------------------------------------------------------------------------


@pytest.mark.parametrize("method", LEARNING)
def test_a_learner_says_whether_its_images_are_frozen(method: str, build) -> None:
    """By a picture: where what is learned changes, so does an image's feature, or does not."""
    trainer = build(method)
    model, learner = trainer.model, trainer.model.prompt_learner
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        raw = model.clip.image(images, learner.steer_image())
        for parameter in learner.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        moved = not torch.equal(model.clip.image(images, learner.steer_image()), raw)
    assert moved != learner.images_are_frozen


def test_methods_without_image_prompts_leave_the_image_encoder_alone(build) -> None:
    settings = {"TRAINER__IVLP__PROMPT_DEPTH_VISION": "0"}
    for method in ("ZeroshotCLIP", "CoCoOp", "TCP", "DePTKgCoOp", "IVLP"):
        assert build(method, **settings).model.prompt_learner.images_are_frozen, method


def test_a_folder_by_setting(run: Run, folder: Path, tmp_path: Path) -> None:
    output = run("ZeroshotCLIP", "tested", "--eval-only", STORE__FOLDER=str(tmp_path / "mine"))
    manifest = json.loads((output / "manifest.json").read_text())
    assert manifest["frozen_features"]["folder"] == str(tmp_path / "mine")
    assert list((tmp_path / "mine").glob("*/*.rows"))
    assert not folder.exists()


def test_a_bound_by_setting(run: Run, folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert zero_shot(run, "tested", STORE__GB="0") == (0, TESTED)
    assert "is at its bound of 0 GB" in capsys.readouterr().out
    assert not list(folder.rglob("*.rows"))


def test_what_cannot_be_told_apart_is_not_served(build, capsys: pytest.CaptureFixture) -> None:
    trainer = build("ZeroshotCLIP")
    loader = trainer.test_loader
    pictures = loader.dataset
    others = torch.utils.data.TensorDataset(torch.rand(4, 3))
    pictures.transform = T.Compose([pictures.transform, lambda image: image])
    for each in (loader, torch.utils.data.DataLoader(others)):
        assert trainer.stored.for_tests(each) is each
    assert "does not say what it does" in capsys.readouterr().out


class Blurred(nn.Module):
    """A transform with a part and a buffer."""

    def __init__(self, sigma: float, mean: float) -> None:
        super().__init__()
        self.inner = T.GaussianBlur(3, sigma)
        self.register_buffer("mean", torch.tensor(mean))


def test_transforms_differ_by_whatever_they_hold() -> None:
    different = [
        T.Compose([T.Resize(32), T.CenterCrop(32)]),
        T.Compose([T.Resize(32), T.CenterCrop(31)]),
        T.Compose([T.Resize(32, T.InterpolationMode.BICUBIC), T.CenterCrop(32)]),
        T.RandomApply([T.ColorJitter(0.1)], p=0.5),
        T.RandomApply([T.ColorJitter(0.2)], p=0.5),
        T.RandomApply(nn.ModuleList([T.ColorJitter(0.3)]), p=0.5),
        T.RandomApply(nn.ModuleList([T.ColorJitter(0.4)]), p=0.5),
        Blurred(1.0, 0.5),
        Blurred(1.5, 0.5),
        Blurred(1.5, 0.6),
    ]
    texts = [json.dumps(describe(each), sort_keys=True) for each in different]
    assert len(set(texts)) == len(different)
    assert json.dumps(describe(Blurred(1.5, 0.6)), sort_keys=True) == texts[-1]


@pytest.mark.parametrize(
    "transform", [abs, lambda image: image, functools.partial(round, ndigits=1)]
)
def test_a_transform_that_does_not_say_what_it_does_is_not_described(transform) -> None:
    with pytest.raises(ValueError, match="does not say what it does"):
        describe(T.Compose([T.Resize(32), transform]))
