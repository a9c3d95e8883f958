"""Checkpoints are complete by construction, and prove that they are understood as they were meant."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from dassl.data.datasets import DATASET_REGISTRY

from datasets.caltech101 import Caltech101
from prompting import checkpoints, learned_state
from prompting.learner import DeepPrompts
from tests import tiny_clip
from trainers import tcp, templates
from trainers.coop import CoOp
from trainers.ivlp import IVLP

from .conftest import LEARNING, METHODS, Run, Trained, accuracy, assert_same, learned

FORMAT1 = Path(__file__).parents[1] / "fixtures" / "format1"


class Forgetful(DeepPrompts):
    """Learns a tensor that its map of published names does not know."""

    def __init__(self, ctx: torch.Tensor) -> None:
        super().__init__(ctx)
        self.scale = torch.nn.Parameter(torch.ones(1))


def test_a_learned_tensor_without_a_published_name_is_named(run: Run, monkeypatch) -> None:
    monkeypatch.setattr(
        CoOp, "build_learner", lambda self, clip, names: Forgetful(self.starting_context(clip))
    )
    with pytest.raises(ValueError, match="scale has no published name"):
        run("CoOp")


def test_a_buffer_is_saved_and_must_be_named_too() -> None:
    learner = DeepPrompts(torch.zeros(2, 4))
    learner.register_buffer("running_mean", torch.zeros(4))
    with pytest.raises(ValueError, match="running_mean has no published name"):
        learned_state.check_complete(learner)


def test_a_checkpoint_of_another_depth_is_refused_whatever_the_method_says(
    run: Run, monkeypatch
) -> None:
    monkeypatch.setattr(DeepPrompts, "describe", lambda self: {})
    trained = run("IVLP", "trained", OPTIM__MAX_EPOCH="1")
    flags = ("--eval-only", "--model-dir", str(trained), "--load-epoch", "1")
    with pytest.raises(ValueError, match=r"resblocks\.2\.VPT_shallow has no place here"):
        run("IVLP", "shallow", *flags, TRAINER__IVLP__PROMPT_DEPTH_TEXT="2")
    with pytest.raises(ValueError, match=r"resblocks\.3\.VPT_shallow is not in the file"):
        run("IVLP", "deep", *flags, TRAINER__IVLP__PROMPT_DEPTH_TEXT="4")


def without_header(path: Path, **more: torch.Tensor) -> None:
    """Make a checkpoint look like a published one, with further tensors in it."""
    checkpoint = torch.load(path, weights_only=True)
    del checkpoint["header"], checkpoint["probe"]
    checkpoint["state_dict"] |= more
    torch.save(checkpoint, path)


def test_published_files_may_hold_frozen_weights_and_nothing_unknown(run: Run) -> None:
    trained = run("IVLP", "trained", OPTIM__MAX_EPOCH="1")
    path = trained / IVLP.checkpoint_name / "model.pth.tar-1"
    flags = ("--eval-only", "--model-dir", str(trained), "--load-epoch", "1")
    frozen = {
        "prompt_learner.token_prefix": torch.zeros(3, 1, 128),
        "image_encoder.conv1.weight": torch.zeros(128, 3, 8, 8),
        "logit_scale": torch.zeros(()),
    }
    without_header(path, **frozen)
    run("IVLP", "tested", *flags)
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["state_dict"]["image_encoder.transformer.resblocks.3.VPT_shallow"] = torch.zeros(2)
    torch.save(checkpoint, path)
    with pytest.raises(ValueError, match=r"resblocks\.3\.VPT_shallow has no place here"):
        run("IVLP", "refused", *flags)


@pytest.mark.parametrize(
    ("method", "kept"),
    [
        ("DePTCoOp", "prompt_learner.token_prefix"),
        ("MMRL", "representation_learner.prompt_embeddings"),
    ],
)
@pytest.mark.parametrize("classes", ["base", "new", "all"])
def test_a_published_file_is_fused_for_as_many_classes_as_it_has(
    method: str, kept: str, classes: str, trained: Trained, build, tmp_path: Path
) -> None:
    """Three classes of six; other datasets of cross-dataset transfer have other classes too."""
    folder = tmp_path / METHODS[method].checkpoint_name
    shutil.copytree(trained(method) / folder.name, folder)
    without_header(folder / "model.pth.tar-3", **{kept: torch.zeros(3, 1, 8)})
    trainer = build(method, DATASET__SUBSAMPLE_CLASSES=classes)
    trainer.load_model(str(tmp_path), epoch=3)
    assert (trainer.model.trained_rows() == [0, 1, 2]) == (classes == "base")
    assert (trainer.model.trained_rows() is None) == (classes != "base")


@pytest.mark.parametrize(("task", "fused"), [("B2N", True), ("CD", False)])
def test_the_same_classes_of_another_dataset_are_fused_but_in_published_transfer(
    task: str, fused: bool, trained: Trained, build, tmp_path: Path
) -> None:
    folder = tmp_path / METHODS["MMRL"].checkpoint_name
    shutil.copytree(trained("MMRL") / folder.name, folder)
    path = folder / "model.pth.tar-3"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["header"]["dataset"] = "ImageNet"  # which has Caltech101's template
    torch.save(checkpoint, path)
    trainer = build("MMRL", DATASET__SUBSAMPLE_CLASSES="base", TASK=task)
    trainer.load_model(str(tmp_path), epoch=3)
    assert (trainer.model.trained_rows() is not None) == fused


def test_a_checkpoint_that_means_something_else_here_is_refused(run: Run, monkeypatch) -> None:
    """The tensors fit, and the class features are not those of the training run."""
    trained = run("CoOp", "trained", OPTIM__MAX_EPOCH="1")
    from prompting import transformer

    monkeypatch.setattr(
        transformer.QuickGELU, "forward", lambda self, x: torch.nn.functional.gelu(x)
    )
    flags = ("--eval-only", "--model-dir", str(trained), "--load-epoch", "1")
    with pytest.raises(ValueError, match="gives other class features here than when it was saved"):
        run("CoOp", "tested", *flags)


@pytest.mark.parametrize("method", LEARNING)
def test_what_was_trained_in_fp32_is_tested_in_bf16(
    method: str, run: Run, trained: Trained
) -> None:
    """Rounding is no other meaning, also where cosines are near zero."""
    flags = ("--eval-only", "--model-dir", str(trained(method)), "--load-epoch", "3")
    precision = {f"TRAINER__{METHODS[method].node}__PREC": "bf16"}
    tested = run(method, "tested", *flags, DATASET__SUBSAMPLE_CLASSES="base", **precision)
    assert 0 <= accuracy(tested) <= 100


@DATASET_REGISTRY.register()
class OtherCaltech101(Caltech101):
    """The same pictures under another name, so that methods may ask for them otherwise."""

    recipe = None  # in no list of datasets to be fetched


@pytest.mark.parametrize("method", ["DePTCoOp", "MMRL", "PromptKD", "TCP"])
def test_what_one_dataset_taught_is_tested_on_another(
    method: str, run: Run, trained: Trained, monkeypatch
) -> None:
    """With its own words where a method has them; the probe is still that of the training."""
    name = OtherCaltech101.__name__
    monkeypatch.setitem(templates.DATASETS, name, "a drawing of the {}, a type of thing.")
    monkeypatch.setitem(tcp.PROMPT_TEMPLATES, name, "X X X X {}, a type of thing.")
    flags = ("--eval-only", "--model-dir", str(trained(method)), "--load-epoch", "3")
    tested = run(method, "tested", *flags, DATASET__NAME=name, DATASET__SUBSAMPLE_CLASSES="new")
    assert 0 <= accuracy(tested) <= 100


def settings_of_fixture(method: str) -> dict[str, str]:
    config = yaml.safe_load((FORMAT1 / method / "config.yaml").read_text())
    node = METHODS[method].node
    return {f"TRAINER__{node}__{k}": str(v) for k, v in config["TRAINER"][node].items()}


@pytest.mark.parametrize("method", sorted(path.name for path in FORMAT1.iterdir()))
def test_files_of_the_first_version_still_load(method: str, run: Run, tmp_path: Path) -> None:
    settings = settings_of_fixture(method)
    folder = tmp_path / "old" / METHODS[method].checkpoint_name
    folder.mkdir(parents=True)
    shutil.copy(FORMAT1 / method / "model.pth.tar-3", folder)
    flags = ("--eval-only", "--model-dir", str(tmp_path / "old"), "--load-epoch", "3")
    output = run(method, "tested", *flags, **settings)
    assert json.loads((output / "results.json").read_text())["epoch"] == 3


@pytest.mark.parametrize("method", sorted(path.name for path in FORMAT1.iterdir()))
def test_runs_of_the_first_version_are_resumed(method: str, run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run" / METHODS[method].checkpoint_name
    folder.mkdir(parents=True)
    shutil.copy(FORMAT1 / method / "resume.pth", folder)
    ours = learned(run(method, "run", **settings_of_fixture(method)))
    old = torch.load(FORMAT1 / method / "model.pth.tar-3", weights_only=True)["state_dict"]
    assert ours.keys() == old.keys()
    for name, value in old.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", LEARNING)
def test_what_was_saved_and_what_is_shared_test_as_the_training_did(
    method: str, run: Run, trained: Trained, build
) -> None:
    output = trained(method)
    flags = ("--eval-only", "--model-dir", str(output), "--load-epoch", "3")
    tested = run(method, "tested", *flags, DATASET__SUBSAMPLE_CLASSES="base")
    assert accuracy(tested) == accuracy(output)
    shared = output / METHODS[method].checkpoint_name / checkpoints.SHARED_FILE
    trainer = build(method, DATASET__SUBSAMPLE_CLASSES="base")
    trainer.load_learned(shared, checkpoints.load(shared))
    assert_same(trainer.learned.copy(), learned(output))


def test_the_tiny_clip_of_the_fixtures(tmp_path: Path) -> None:
    """What was saved was saved on these weights."""
    header = torch.load(FORMAT1 / "CoOp" / "model.pth.tar-3", weights_only=True)["header"]
    from prompting.backbone import load_clip

    assert load_clip(str(tiny_clip.write(tmp_path))).earlier_fingerprint == header["backbone"]
