"""Checkpoints: the published format is read, and nothing pickled in a file is ever run."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from prompting import checkpoints

SHARED = Path(__file__).parents[2].parent / "shared" / "golden"


@pytest.mark.skipif(not SHARED.is_dir(), reason="the released checkpoints lie outside the project")
@pytest.mark.parametrize("name", ["promptsrc_uneven", "cocoop_batch3"])
def test_released_checkpoints_hold_the_recorded_values(name: str) -> None:
    (path,) = (SHARED / "released" / name).glob("*/model.pth.tar-*")
    record = np.load(SHARED / f"{name}.npz")
    prefix = "prompt_learner." if name.startswith("cocoop") else ""
    final = {
        key.removeprefix("final/").removeprefix(prefix): torch.from_numpy(record[key])
        for key in record.files
        if key.startswith("final/")
    }
    state = checkpoints.load(path)["state_dict"]
    for key, value in checkpoints.select_learned(path, state, final).items():
        assert torch.equal(value, final[key])


class Scheduler:
    """Pickled as if it were a class of another package."""


def save_with(path: Path, thing: object, module: str, name: str) -> Path:
    """A published-style checkpoint with an instance of module.name pickled in it."""
    Scheduler.__module__, Scheduler.__qualname__, Scheduler.__name__ = module, name, name
    state = OrderedDict(ctx=torch.arange(4.0))
    torch.save({"state_dict": state, "epoch": 2, "scheduler": thing}, path, pickle_module=_Lax)
    return path


class _Lax:
    """pickle, without the check that a class can be imported again."""

    __name__ = "lax"

    class Pickler(pickle._Pickler):
        def save_global(self, obj, name=None):
            if obj is Scheduler:
                self.write(f"c{obj.__module__}\n{obj.__qualname__}\n".encode())
                self.memoize(obj)
            else:
                super().save_global(obj, name)

        dispatch = dict(pickle._Pickler.dispatch)
        dispatch[type] = save_global

    @staticmethod
    def dump(obj, file, protocol):
        _Lax.Pickler(file, protocol).dump(obj)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("torch.optim.lr_scheduler", "CosineAnnealingLR"),
        ("dassl.optim.lr_scheduler", "ConstantWarmup"),
    ],
)
def test_optimizers_and_schedulers_become_inert(tmp_path: Path, module: str, name: str) -> None:
    thing = Scheduler()
    thing.last_epoch = 3
    loaded = checkpoints.load(save_with(tmp_path / "model.pth.tar-2", thing, module, name))
    assert torch.equal(loaded["state_dict"]["ctx"], torch.arange(4.0))
    assert not hasattr(loaded["scheduler"], "last_epoch")


@pytest.mark.parametrize(
    ("module", "name"), [("os", "system"), ("torch.optimal", "Thing"), ("builtins", "eval")]
)
def test_anything_else_is_refused_by_name(tmp_path: Path, module: str, name: str) -> None:
    path = save_with(tmp_path / "model.pth.tar-2", Scheduler(), module, name)
    with pytest.raises(checkpoints.CheckpointError, match=f"{module}.{name}"):
        checkpoints.load(path)


class Attack:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def test_a_malicious_pickle_is_not_executed(tmp_path: Path) -> None:
    path = tmp_path / "model.pth.tar-1"
    torch.save({"state_dict": {}, "epoch": Attack(tmp_path / "owned")}, path)
    with pytest.raises(checkpoints.CheckpointError, match="Nothing was executed"):
        checkpoints.load(path)
    assert not (tmp_path / "owned").exists()


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    checkpoints.write_atomically(path, lambda temporary: temporary.write_text("old"))

    def fail(temporary: Path) -> None:
        temporary.write_text("ne")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        checkpoints.write_atomically(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_best_then_newest_without_an_epoch(tmp_path: Path) -> None:
    for epoch in (1, 2):
        checkpoints.save(tmp_path / f"model.pth.tar-{epoch}", {"state_dict": {}})
    assert checkpoints.locate(tmp_path, None).name == "model.pth.tar-2"
    assert checkpoints.locate(tmp_path, 1).name == "model.pth.tar-1"
    checkpoints.save(tmp_path / "model-best.pth.tar", {"state_dict": {}})
    assert checkpoints.locate(tmp_path, None).name == "model-best.pth.tar"
