"""PromptKD's teacher, its unlabeled images, and what is selected on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from yacs.config import CfgNode

from prompting.backbone import load_clip
from prompting.errors import InputError
from prompting.prompted_teacher import PromptedTeacher
from tests import tiny_clip
from trainers import transforms
from trainers.run_folder import changed_inputs

from .conftest import CLASSES, Run, learned, teacher_of


@pytest.fixture
def teacher(data: Path, backbones: Path) -> Path:
    return teacher_of(data, tiny_clip.write(backbones))


def logits_of(teacher: PromptedTeacher, images: torch.Tensor) -> torch.Tensor:
    return teacher.logits(teacher.encode_images(images), CLASSES)


@pytest.mark.parametrize("given", ["", "nowhere/at/all"])
def test_without_a_teacher_the_command_that_makes_it_is_named(
    given: str, run: Run, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"run\.sh PromptKD base2new_train .* --with-teacher"):
        run("PromptKD", TRAINER__PROMPTKD__TEACHER=given)
    assert not (tmp_path / "run").exists()


def test_a_run_its_folder_of_checkpoints_and_the_file_are_the_same_teacher(
    teacher: Path, build
) -> None:
    folder = teacher / "VLPromptLearner"
    found = [
        build("PromptKD", TRAINER__PROMPTKD__TEACHER=str(path)).teacher
        for path in (teacher, folder, folder / "model.pth.tar-1", folder / "prompts.safetensors")
    ]
    assert len({each.fingerprint for each in found}) == 1
    trained = build("PromptSRC")
    trained.load_model(str(teacher), epoch=1)
    trained.set_model_mode("eval")
    images = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        expected = trained.model(images)
    torch.testing.assert_close(logits_of(found[0], images), expected)


def test_a_published_file_says_no_backbone(teacher: Path, build, backbones: Path, tmp_path) -> None:
    state = learned(teacher, 1)
    published = tmp_path / "model-best.pth.tar"
    # as published files are: with frozen weights, and without a header
    frozen = {"image_encoder.ln_pre.weight": torch.ones(128)}
    torch.save({"state_dict": {**state, **frozen}, "epoch": 1}, published)
    options = {"TRAINER__PROMPTKD__TEACHER": str(published)}
    with pytest.raises(InputError, match="does not say which CLIP"):
        build("PromptKD", **options)
    options["TRAINER__PROMPTKD__TEACHER_NAME"] = str(tiny_clip.write(backbones))
    images = torch.randn(2, 3, 32, 32)
    released = logits_of(build("PromptKD", **options).teacher, images)
    own = build("PromptKD", TRAINER__PROMPTKD__TEACHER=str(teacher)).teacher
    torch.testing.assert_close(released, logits_of(own, images))


def test_teachers_that_do_not_fit_are_refused(
    teacher: Path, build, backbones: Path, trained
) -> None:
    other = str(tiny_clip.write(backbones, seed=8))
    named = {"TRAINER__PROMPTKD__TEACHER": str(teacher), "TRAINER__PROMPTKD__TEACHER_NAME": other}
    with pytest.raises(InputError, match=r"backbone is .* in the file and .* here"):
        build("PromptKD", **named)
    (path,) = trained("CoOp").glob("*/model.pth.tar-3")
    with pytest.raises(InputError, match=r"holds no deep prompts"):
        build("PromptKD", TRAINER__PROMPTKD__TEACHER=str(path))
    larger = str(tiny_clip.write(backbones, "RESNET"))
    zero_shot = {"TRAINER__PROMPTKD__TEACHER": "zero-shot"}
    with pytest.raises(InputError, match=r"INPUT.SIZE \(64, 64\), which is \(32, 32\) here"):
        build("PromptKD", **zero_shot, TRAINER__PROMPTKD__TEACHER_NAME=larger)


def test_a_zero_shot_teacher_is_zero_shot_clip(build) -> None:
    taught = build("PromptKD", TRAINER__PROMPTKD__TEACHER="zero-shot")
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = build("ZeroshotCLIP").model(images)
    torch.testing.assert_close(logits_of(taught.teacher, images), expected)


def test_a_student_is_not_tested_with_another_teacher(trained, run: Run) -> None:
    flags = ("--eval-only", "--model-dir", str(trained("PromptKD")), "--load-epoch", "3")
    other = {"TRAINER__PROMPTKD__TEACHER": "zero-shot"}
    with pytest.raises(InputError, match=r"teacher is .* in the file and .* here"):
        run("PromptKD", "tested", *flags, **other)


def test_images_of_all_classes_teach_and_their_labels_do_not(
    run: Run, trained, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    from trainers.promptkd import PromptKD

    seen = []
    compute_loss = PromptKD.compute_loss

    def without_labels(self, images, labels):
        seen.extend(labels.tolist())
        assert self.model.trained_classes == CLASSES
        return compute_loss(self, images, torch.zeros_like(labels))

    monkeypatch.setattr(PromptKD, "compute_loss", without_labels)
    output = run("PromptKD", "unlabeled", DATASET__SUBSAMPLE_CLASSES="base")
    assert set(seen) == set(range(len(CLASSES)))
    assert "24 images of all classes, without labels" in capsys.readouterr().out
    for name, tensor in learned(trained("PromptKD")).items():
        assert torch.equal(tensor, learned(output)[name]), name
    results = json.loads((output / "results.json").read_text())
    assert (results["classes"], results["total"]) == ("base", 9)
    record = json.loads((output / "run.json").read_text())["pictures"]
    assert len(record["train_x"]) == 6
    assert len(record["test"]) == 3
    cfg = CfgNode(results["config"])
    assert changed_inputs(cfg) == []  # so that a sweep keeps the run
    cfg.DATASET.SUBSAMPLE_CLASSES = "new"
    assert [line.partition(":")[0] for line in changed_inputs(cfg)] == ["val", "test"]


def test_the_student_has_a_backbone_and_a_width_of_its_own(
    run: Run, data: Path, backbones: Path
) -> None:
    wide = tiny_clip.SIZES["VIT"] | {"embed_dim": 96, "vision_layers": 3}
    teacher = teacher_of(data, tiny_clip.write(backbones, "WIDE", 5, wide))
    output = run("PromptKD", TRAINER__PROMPTKD__TEACHER=str(teacher))
    assert learned(output)["VPT_image_trans.conv1.3.weight"].shape == (96, 96, 1, 1)
    assert load_clip(str(tiny_clip.write(backbones))).embed_dim == 64


@pytest.mark.parametrize(("select_on_test", "tested"), [("True", "test"), ("False", "val")])
def test_the_published_selection_is_on_test_images_and_said(
    select_on_test: str, tested: str, run: Run, capsys: pytest.CaptureFixture
) -> None:
    output = run(
        "PromptKD",
        TEST__FINAL_MODEL="best_val",
        TRAINER__PROMPTKD__SELECT_ON_TEST=select_on_test,
        DATASET__SUBSAMPLE_CLASSES="base",
    )
    said = capsys.readouterr().out
    assert ("best on the *test* images" in said) == (tested == "test")
    assert ("SELECT_ON_TEST False validates" in said) == (tested == "test")
    (best,) = output.glob("*/model-best.pth.tar")
    kept = torch.load(best, weights_only=True)["val_result"]
    results = json.loads((output / "results.json").read_text())
    if tested == "test":
        assert kept == pytest.approx(results["metrics"]["accuracy"])
    totals = {int(line.split()[-1]) for line in said.splitlines() if "* total" in line}
    assert totals == ({9} if tested == "test" else {6, 9})


def test_images_that_never_change_are_encoded_once_by_the_teacher(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    encoded = []
    encode = PromptedTeacher.encode_images
    monkeypatch.setattr(
        PromptedTeacher,
        "encode_images",
        lambda self, images: encoded.append(len(images)) or encode(self, images),
    )
    run("PromptKD", "random")
    assert sum(encoded) == 3 * 24
    assert "anew at each step: random_resized_crop, random_flip" in capsys.readouterr().out
    encoded.clear()
    fixed = {"INPUT__TRANSFORMS": "('center_crop', 'normalize')"}
    fixed["TRAINER__PROMPTKD__KD_WEIGHT"] = "20"
    once = learned(run("PromptKD", "fixed", **fixed))
    assert sum(encoded) == 24
    monkeypatch.setattr(transforms, "NOT_RANDOM", ())
    every_time = learned(run("PromptKD", "every_time", **fixed))
    for name, tensor in once.items():
        torch.testing.assert_close(tensor, every_time[name], rtol=1e-4, atol=1e-5)


def test_a_batch_of_one_image_is_refused(run: Run, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"BATCH_SIZE to 2"):
        run("PromptKD", DATALOADER__TRAIN_X__BATCH_SIZE="1")
    assert not list((tmp_path / "run").glob("*/model*"))


def test_published_keys_that_nothing_reads_are_taken(build) -> None:
    build("PromptKD", TRAINER__MODAL="cross", TRAINER__PROMPTKD__PROMPT_DEPTH_TEXT="9")
