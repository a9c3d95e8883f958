"""On an engine that seeds nothing, ours gives the results that it gives on our own."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
import torch
from dassl.data import DataManager
from dassl.engine import trainer as engine_trainer
from dassl.evaluation import Classification
from torch.utils.data import DataLoader, Dataset

from trainers import periodic_tests

from .conftest import Run, assert_same, learned
from .test_training import Killed, kill_at


class Items(Dataset):
    """What Dassl's own wrapper gives: augmented from the global random state."""

    def __init__(self, seeded: Dataset) -> None:
        self.make = seeded._make_item
        for name in ("data_source", "transform", "is_train", "k_tfm", "return_img0"):
            setattr(self, name, getattr(seeded, name))

    def __len__(self) -> int:
        return len(self.data_source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.make(index)


class UnseededManager:
    """A data manager as Dassl has it: plain loaders, in an order from the global random state."""

    def __init__(self, cfg: Any) -> None:
        ours = DataManager(cfg)
        self.dataset, self.lab2cname = ours.dataset, ours.lab2cname
        self.num_classes, self.num_source_domains = ours.num_classes, ours.num_source_domains
        self.train_loader_u = None
        for name in ("train_loader_x", "val_loader", "test_loader"):
            loader = getattr(ours, name)
            training = name == "train_loader_x"
            plain = DataLoader(
                Items(loader.dataset),
                batch_size=loader.batch_size,
                shuffle=training,
                drop_last=training,
                num_workers=cfg.DATALOADER.NUM_WORKERS,
            )
            setattr(self, name, plain)


@pytest.fixture
def unseeded(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on, the engine is one that seeds nothing."""
    monkeypatch.setattr(engine_trainer, "DataManager", UnseededManager)
    monkeypatch.setattr(engine_trainer.TrainerBase, "_set_data_epoch", lambda self: None)


def test_the_seed_alone_decides_on_every_engine(run: Run, request: pytest.FixtureRequest) -> None:
    ours = learned(run("CoOp", "ours"))
    request.getfixturevalue("unseeded")
    assert_same(learned(run("CoOp", "theirs")), ours)
    assert_same(learned(run("CoOp", "workers", DATALOADER__NUM_WORKERS="2")), ours)
    assert_same(learned(run("CoOp", "tested", TEST__FINAL_MODEL="best_val")), ours)
    other = learned(run("CoOp", "other", SEED="2"))
    assert not torch.equal(other["ctx"], ours["ctx"])


@pytest.mark.usefixtures("unseeded")
def test_a_killed_run_goes_on_with_the_same_images(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    unbroken = learned(run("IVLP", "unbroken"))
    with monkeypatch.context() as patch:
        kill_at(patch, "IVLP", 9)
        with pytest.raises(Killed):
            run("IVLP", "broken")
    assert_same(learned(run("IVLP", "broken")), unbroken)


def test_validation_that_draws_changes_no_training(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = {"OPTIM__MAX_EPOCH": "2"}
    plain = learned(run("CoPrompt", "plain", **once), 2)  # it draws a sentence at every step
    evaluate = Classification.evaluate

    def drawing(evaluator: Classification) -> dict[str, float]:
        random.random()
        return evaluate(evaluator)

    monkeypatch.setattr(Classification, "evaluate", drawing)
    assert_same(learned(run("CoPrompt", "tested", TEST__FINAL_MODEL="best_val", **once), 2), plain)


def test_frozen_features_are_shared_by_the_engines(
    run: Run, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    monkeypatch.setenv("PROMPT_CACHE", str(tmp_path / "cache"))
    settings = {"STORE__TRAINING": "True", "TEST__EVERY": "3", "DATASET__SUBSAMPLE_CLASSES": "base"}
    ours = run("CoOp", "ours", **settings)
    request.getfixturevalue("unseeded")
    monkeypatch.setattr(periodic_tests, "DataManager", UnseededManager)
    theirs = run("CoOp", "theirs", **settings)
    assert_same(learned(theirs), learned(ours))
    found = json.loads((theirs / "manifest.json").read_text())["frozen_features"]
    assert found["training"] == {"read": 3 * 12, "computed": 0}
    assert found["tests"] == {"read": 9 + 18, "computed": 0}
