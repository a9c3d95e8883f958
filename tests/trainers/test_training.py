"""Training as a whole: repeatable, independent of workers, and resumed to the last bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from dassl.engine import TRAINER_REGISTRY

from datasets import few_shot
from tests import tiny_clip

from .conftest import (
    LEARNING,
    METHODS,
    STEPPING,
    Run,
    Trained,
    accuracy,
    assert_same,
    learned,
    settings_of,
)


class Killed(Exception):
    """Stands in for a kill, at a chosen step."""


def kill_at(monkeypatch: pytest.MonkeyPatch, method: str, step: int) -> None:
    trainer = TRAINER_REGISTRY.get(method)
    forward_backward = trainer.forward_backward

    def until_killed(self, batch):
        if self.epoch * self.num_batches + self.batch_idx == step:
            raise Killed
        return forward_backward(self, batch)

    monkeypatch.setattr(trainer, "forward_backward", until_killed)


@pytest.mark.parametrize("method", STEPPING)
def test_killed_restarted_and_tested_in_between_ends_bit_for_bit_the_same(
    method: str, run: Run, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    unbroken = trained(method)
    settings = {"DATASET__SUBSAMPLE_CLASSES": "base", "TEST__EVERY": "2"}
    steps_an_epoch = 3
    for step in (1, steps_an_epoch + 2, 2 * steps_an_epoch + 1):
        with monkeypatch.context() as patch:
            kill_at(patch, method, step)
            with pytest.raises(Killed):
                run(method, "broken", **settings)
        settings["STORE__TRAINING"] = "True"  # which changes nothing either
    broken = run(method, "broken", **settings)
    assert_same(learned(broken), learned(unbroken))
    assert accuracy(broken) == accuracy(unbroken)
    tests = json.loads((broken / "curves.json").read_text())["tests"]
    assert {(test["epoch"], test["classes"]) for test in tests} == {(2, "base"), (2, "new")}


@pytest.mark.parametrize("method", LEARNING)
def test_every_learned_tensor_moves(method: str, trained: Trained, build) -> None:
    """But those whose gradient is rounding noise, which the learner names."""
    trainer = build(method, DATASET__SUBSAMPLE_CLASSES="base")
    end = learned(trained(method))
    for name, tensor in trainer.learned.tensors().items():
        assert not torch.equal(tensor, end[name]), name


def test_the_average_goes_on_after_a_restart(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"TRAINER__PROMPTSRC__GPA_MEAN": "1.5", "TRAINER__PROMPTSRC__GPA_STD": "10"}
    unbroken = learned(run("PromptSRC", "unbroken", **settings))
    with monkeypatch.context() as patch:
        kill_at(patch, "PromptSRC", 14)
        with pytest.raises(Killed):
            run("PromptSRC", "broken", **settings)
    resumed = learned(run("PromptSRC", "broken", **settings))
    assert_same(resumed, unbroken)
    last_epoch_only = learned(run("PromptSRC", "last", TRAINER__PROMPTSRC__GPA_MEAN="30"))
    assert not torch.equal(last_epoch_only["prompt_learner.ctx"], resumed["prompt_learner.ctx"])


@pytest.mark.slow
def test_a_real_kill(run: Run, data: Path, backbones: Path, tmp_path: Path) -> None:
    unbroken = learned(run("PromptSRC", "unbroken", OPTIM__MAX_EPOCH="20"), 20)
    backbone = str(tiny_clip.write(backbones))
    settings = settings_of("PromptSRC") | {"OPTIM.MAX_EPOCH": "20"}
    command = [
        *(sys.executable, "train.py", "--root", str(data), "--seed", "1"),
        *("--trainer", "PromptSRC", "--backbone", backbone),
        *("--dataset-config-file", "configs/datasets/caltech101.yaml"),
        *("--output-dir", str(tmp_path / "broken")),
        *(part for pair in settings.items() for part in pair),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    resume = tmp_path / "broken" / "VLPromptLearner" / "resume.pth"
    while not resume.exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert resume.exists()
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "Resuming from" in finished.stdout
    assert_same(learned(tmp_path / "broken", 20), unbroken)
    assert not resume.exists()


def test_same_result_for_any_number_of_workers(run: Run) -> None:
    first = learned(run("IVLP", "workers0"))
    for workers in ("1", "3"):
        output = run("IVLP", f"workers{workers}", DATALOADER__NUM_WORKERS=workers)
        assert_same(learned(output), first)


def test_tests_in_between_change_nothing(run: Run) -> None:
    plain = learned(run("CoOp", "plain"))
    tested = run("CoOp", "tested", TEST__FINAL_MODEL="best_val")
    assert_same(learned(tested), plain)
    assert (tested / "prompt_learner" / "model-best.pth.tar").is_file()


def test_a_choice_on_test_images_is_said(run: Run, monkeypatch, capsys) -> None:
    """Datasets without validation images, such as ImageNet, validate on their test images."""
    best = {"TEST__FINAL_MODEL": "best_val", "OPTIM__MAX_EPOCH": "1"}
    run("CoOp", "validated", **best)
    assert "best on the *test* images" not in capsys.readouterr().out
    real = few_shot.read_split
    monkeypatch.setattr(few_shot, "read_split", lambda *paths: real(*paths)._replace(val=None))
    run("CoOp", "tested", **best)
    assert "best on the *test* images" in capsys.readouterr().out


def test_another_seed_gives_another_result(run: Run) -> None:
    one = learned(run("CoOp", "one"))["ctx"]
    assert not torch.equal(one, learned(run("CoOp", "two", SEED="2"))["ctx"])


def test_a_finished_run_is_kept(run: Run, capsys: pytest.CaptureFixture) -> None:
    output = run("PromptSRC")
    before = (output / "VLPromptLearner" / "model.pth.tar-3").read_bytes()
    capsys.readouterr()
    run("PromptSRC")
    assert "nothing is left to train" in capsys.readouterr().out
    assert (output / "VLPromptLearner" / "model.pth.tar-3").read_bytes() == before


@pytest.mark.parametrize("method", [m for m in METHODS if METHODS[m].model_class.uses_text])
def test_new_classes_are_tested_with_the_learned_prompts(
    method: str, run: Run, trained: Trained
) -> None:
    flags = ["--eval-only"]
    if method in LEARNING:
        flags += ["--model-dir", str(trained(method)), "--load-epoch", "3"]
    output = run(method, "new", *flags, DATASET__SUBSAMPLE_CLASSES="new")
    results = json.loads((output / "results.json").read_text())
    assert results["trainer"] == method
    assert results["dataset"] == "Caltech101"
    assert results["classes"] == "new"
    assert results["split"] == "test"
    assert results["seed"] == 1
    assert results["epoch"] == (3 if method in LEARNING else 0)
    assert results["total"] == 9
    assert results["config"]["DATASET"]["NUM_SHOTS"] == 4
    correct = results["metrics"]["accuracy"] * results["total"] / 100
    assert correct == pytest.approx(round(correct))
    assert f"* accuracy: {results['metrics']['accuracy']:.1f}%" in (output / "log.txt").read_text()
