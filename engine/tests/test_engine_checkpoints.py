"""Checkpoints: place, names, keys, and what happens when they are missing or damaged."""

from __future__ import annotations

import os
import pickle
import stat

import pytest
import torch
from dassl.config import get_cfg_default
from dassl.optim import build_lr_scheduler
from dassl.utils import (
    InputError,
    load_checkpoint,
    load_pretrained_weights,
    resume_from_checkpoint,
    save_checkpoint,
)
from torch import nn


def state_of(model, epoch=3):
    return {
        "state_dict": model.state_dict(),
        "epoch": epoch,
        "optimizer": None,
        "scheduler": None,
        "val_result": 12.5,
    }


def assert_equal(one, other):
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_place_name_and_pointer(tmp_path):
    model = nn.Linear(2, 2)
    folder = tmp_path / "deep" / "model"
    save_checkpoint(state_of(model), str(folder))
    assert sorted(os.listdir(folder)) == ["checkpoint", "model.pth.tar-3"]
    assert (folder / "checkpoint").read_text() == "model.pth.tar-3\n"
    checkpoint = load_checkpoint(str(folder / "model.pth.tar-3"))
    assert set(checkpoint) == {"state_dict", "epoch", "optimizer", "scheduler", "val_result"}
    assert checkpoint["val_result"] == 12.5

    save_checkpoint(state_of(model, epoch=4), str(folder), is_best=True)
    assert (folder / "checkpoint").read_text() == "model.pth.tar-4\n"
    assert load_checkpoint(str(folder / "model-best.pth.tar"))["epoch"] == 4
    assert load_checkpoint(str(folder / "model.pth.tar-3"))["epoch"] == 3


def test_the_prefix_of_data_parallel_is_dropped(tmp_path):
    state = {"state_dict": nn.DataParallel(nn.Linear(2, 2)).state_dict(), "epoch": 1}
    save_checkpoint(state, str(tmp_path))
    assert set(load_checkpoint(str(tmp_path / "model.pth.tar-1"))["state_dict"]) == {
        "weight",
        "bias",
    }
    assert set(state["state_dict"]) == {"module.weight", "module.bias"}


def test_an_interrupted_save_leaves_the_earlier_file(tmp_path, monkeypatch):
    model = nn.Linear(2, 2)
    save_checkpoint(state_of(model), str(tmp_path))
    before = (tmp_path / "model.pth.tar-3").read_bytes()

    def interrupted(state, stream):
        stream.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(state_of(model), str(tmp_path))
    assert (tmp_path / "model.pth.tar-3").read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["checkpoint", "model.pth.tar-3"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_named_and_the_earlier_file_kept(tmp_path, monkeypatch):
    save_checkpoint(state_of(nn.Linear(2, 2)), str(tmp_path))
    before = (tmp_path / "model.pth.tar-3").read_bytes()
    open_file = os.fdopen

    def full(descriptor, mode):
        os.close(descriptor)
        return open("/dev/full", mode, buffering=0)

    monkeypatch.setattr(os, "fdopen", full)
    with pytest.raises(InputError, match=r"tar-3\" cannot be written: No space left.*MiB are free"):
        save_checkpoint(state_of(nn.Linear(2, 2)), str(tmp_path))
    monkeypatch.setattr(os, "fdopen", open_file)
    assert (tmp_path / "model.pth.tar-3").read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["checkpoint", "model.pth.tar-3"]


@pytest.mark.skipif(os.name == "nt", reason="folders cannot be synced there")
def test_files_and_their_folder_are_synced(tmp_path, monkeypatch):
    synced = []
    sync = os.fsync

    def noting(descriptor):
        synced.append(stat.S_ISDIR(os.fstat(descriptor).st_mode))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", noting)
    save_checkpoint(state_of(nn.Linear(2, 2)), str(tmp_path))
    assert synced == [False, True, False, True]


def test_files_have_ordinary_permissions(tmp_path):
    save_checkpoint(state_of(nn.Linear(2, 2)), str(tmp_path))
    (tmp_path / "ordinary").write_text("")
    expected = (tmp_path / "ordinary").stat().st_mode
    assert (tmp_path / "model.pth.tar-3").stat().st_mode == expected


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"model\.pth\.tar-9.*--load-epoch"):
        load_checkpoint(str(tmp_path / "model.pth.tar-9"))
    with pytest.raises(ValueError, match="path is None"):
        load_checkpoint(None)
    with pytest.raises(FileNotFoundError, match=r"checkpoint\" is missing"):
        resume_from_checkpoint(str(tmp_path), nn.Linear(2, 2))


@pytest.mark.parametrize("keep", [0.0, 0.01, 0.5, 0.95])
def test_truncated_files_are_named(tmp_path, keep):
    save_checkpoint(state_of(nn.Linear(20, 20)), str(tmp_path))
    path = tmp_path / "model.pth.tar-3"
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(InputError, match=r"model\.pth\.tar-3.*damaged") as error:
        load_checkpoint(str(path))
    assert error.value.__cause__ is not None


class Payload:
    """Unpickling it would run a command."""

    def __reduce__(self):
        return os.system, ("true",)


def test_pickled_code_is_not_run(tmp_path, monkeypatch):
    path = tmp_path / "model.pth.tar-1"
    torch.save({"state_dict": {}, "epoch": 1, "extra": Payload()}, path)
    monkeypatch.setattr(os, "system", lambda command: pytest.fail("ran"))
    with pytest.raises(InputError, match=r"model\.pth\.tar-1.*Nothing was executed"):
        load_checkpoint(str(path))


def test_resume_restores_model_and_optimizer(tmp_path):
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    state = {**state_of(model), "optimizer": optimizer.state_dict()}
    save_checkpoint(state, str(tmp_path))

    other = nn.Linear(2, 2)
    other_optimizer = torch.optim.SGD(other.parameters(), lr=0.1, momentum=0.9)
    assert resume_from_checkpoint(str(tmp_path), other, other_optimizer) == 3
    assert_equal(model, other)
    assert other_optimizer.param_groups[0]["lr"] == 0.5
    momentum = other_optimizer.state[other.weight]["momentum_buffer"]
    assert torch.equal(momentum, optimizer.state[model.weight]["momentum_buffer"])


class Warmup(torch.optim.lr_scheduler.LRScheduler):
    """A warm-up as the original toolbox has it: its state holds the next schedule as an object."""

    def __init__(self, optimizer, successor, epochs):
        self.successor, self.epochs = successor, epochs
        super().__init__(optimizer)

    def get_lr(self):
        if self.last_epoch >= self.epochs:
            return self.successor.get_last_lr()
        return [1e-5 for _ in self.base_lrs]

    def step(self, epoch=None):
        if self.last_epoch >= self.epochs:
            self.successor.step(epoch)
            self._last_lr = self.successor.get_last_lr()
        else:
            super().step(epoch)


def released_file(folder, epochs_done):
    """What the original writes after some epochs of ten; returns the rates that are to come."""
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10.0)
    scheduler = Warmup(optimizer, cosine, 1)
    for _ in range(epochs_done):
        optimizer.step()
        scheduler.step()
    state = {**state_of(model, epochs_done), "optimizer": optimizer.state_dict()}
    assert isinstance(scheduler.state_dict()["successor"], type(cosine))
    folder.mkdir(exist_ok=True)
    torch.save({**state, "scheduler": scheduler.state_dict()}, folder / "model.pth.tar-released")
    (folder / "checkpoint").write_text("model.pth.tar-released\n")
    rates = []
    for _ in range(10 - epochs_done):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return model, rates


@pytest.mark.parametrize("epochs_done", [1, 6])
def test_files_of_the_original_are_read_and_resumed(tmp_path, epochs_done):
    model, rates = released_file(tmp_path, epochs_done)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "model.pth.tar-released", weights_only=True)
    checkpoint = load_checkpoint(str(tmp_path / "model.pth.tar-released"))
    assert torch.equal(checkpoint["state_dict"]["weight"], model.weight)

    own = nn.Linear(2, 2)
    load_pretrained_weights(own, str(tmp_path / "model.pth.tar-released"))
    assert_equal(own, model)

    own = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(own.parameters(), lr=0.1)
    cfg = get_cfg_default().OPTIM
    cfg.LR_SCHEDULER, cfg.MAX_EPOCH, cfg.WARMUP_EPOCH, cfg.WARMUP_TYPE = "cosine", 10, 1, "constant"
    scheduler = build_lr_scheduler(optimizer, cfg)
    assert resume_from_checkpoint(str(tmp_path), own, optimizer, scheduler) == epochs_done
    assert_equal(own, model)
    resumed = []
    for _ in rates:
        resumed.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert resumed == pytest.approx(rates, rel=1e-9)


def test_a_torchscript_archive_is_refused(tmp_path):
    torch.jit.script(nn.Linear(2, 2)).save(tmp_path / "model.pth.tar-1")
    with pytest.raises(InputError, match=r"model\.pth\.tar-1 is a TorchScript archive"):
        load_checkpoint(str(tmp_path / "model.pth.tar-1"))


def test_what_is_no_checkpoint_of_this_model_is_named(tmp_path):
    torch.save(torch.ones(2), tmp_path / "tensor")
    with pytest.raises(InputError, match=r"tensor\" is no checkpoint.*Tensor"):
        load_checkpoint(str(tmp_path / "tensor"))
    (tmp_path / "checkpoint").write_text("model.pth.tar-1\n")
    torch.save({"weights": 1}, tmp_path / "model.pth.tar-1")
    with pytest.raises(InputError, match=r"tar-1\" is no checkpoint of a run.*weights"):
        resume_from_checkpoint(str(tmp_path), nn.Linear(2, 2))
    save_checkpoint(state_of(nn.Linear(3, 2)), str(tmp_path))
    with pytest.raises(InputError, match=r"tar-3\" is of another model.*size mismatch"):
        resume_from_checkpoint(str(tmp_path), nn.Linear(2, 2))


def test_pretrained_weights_match_by_name_and_shape(tmp_path, capsys):
    source = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4))
    target = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 5))
    torch.save({"state_dict": source.state_dict(), "epoch": 1}, tmp_path / "weights")
    load_pretrained_weights(target, str(tmp_path / "weights"))
    assert_equal(source[0], target[0])
    printed = capsys.readouterr().out
    assert "Loaded 2 of 4 weights" in printed
    assert "1.weight" in printed
    with pytest.warns(UserWarning, match="No weight was loaded"):
        load_pretrained_weights(nn.Linear(7, 7), str(tmp_path / "weights"))
