"""Files of torch are read without running anything in them, and damage is noticed."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
from collections import OrderedDict, defaultdict
from pathlib import Path

import inert_reader
import numpy as np
import pytest
import torch


def published() -> dict:
    """What Dassl's save_checkpoint writes, with whole objects where state_dict() holds them."""
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 3)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return {
        "state_dict": model.state_dict(),
        "optimizer": optimizer,
        "scheduler": {"successor": scheduler, "last_epoch": 4},
        "val_result": np.float64(81.5),
        "counts": np.int64(3),
        "by_name": defaultdict(list, a=[1]),
        "raw": b"\xff\x00",
    }


@pytest.mark.parametrize("zipped", [True, False])
def test_published_objects_become_inert_and_the_rest_is_read(tmp_path: Path, zipped: bool) -> None:
    written = published()
    torch.save(written, tmp_path / "f", _use_new_zipfile_serialization=zipped)
    read = inert_reader.load(tmp_path / "f")
    for name, value in written["state_dict"].items():
        assert torch.equal(read["state_dict"][name], value)
    successor = read["scheduler"]["successor"]
    for thing in (read["optimizer"], successor):
        assert isinstance(thing, inert_reader.Inert)
        assert not hasattr(thing, "step")
    assert successor.state["last_epoch"] == 0
    for name in ("val_result", "counts", "by_name", "raw"):
        assert read[name] == written[name]
    assert type(read["val_result"]) is float


def test_what_others_trust_is_left_as_it_was(tmp_path: Path) -> None:
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals([torch.optim.AdamW])
    try:
        torch.save(published(), tmp_path / "f")
        assert isinstance(inert_reader.load(tmp_path / "f")["optimizer"], inert_reader.Inert)
        assert torch.serialization.get_safe_globals() == [torch.optim.AdamW]
    finally:
        torch.serialization.clear_safe_globals()


class Attack:
    """Makes a folder when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("zipped", [True, False])
def test_an_attack_is_refused_by_name(tmp_path: Path, zipped: bool) -> None:
    attack = {"x": Attack(tmp_path / "owned")}
    torch.save(attack, tmp_path / "f", _use_new_zipfile_serialization=zipped)
    with pytest.raises(inert_reader.RefusedFile, match="Nothing was executed") as refused:
        inert_reader.load(tmp_path / "f")
    assert refused.value.wanted == f"{os.mkdir.__module__}.mkdir"
    assert not (tmp_path / "owned").exists()


class Scripted(torch.nn.Module):
    """Writes a file when TorchScript loads it."""

    def __init__(self, target: str) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(3))
        self.target = target

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x

    @torch.jit.export
    def __getstate__(self):
        return self.target, self.weight, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, torch.Tensor, bool]) -> None:
        self.target = state[0]
        self.weight = state[1]
        self.training = state[2]
        torch.save(state[1], state[0])


def test_code_of_torchscript_is_never_run(tmp_path: Path) -> None:
    owned = tmp_path / "owned"
    torch.jit.script(Scripted(str(owned))).save(str(tmp_path / "f"))
    torch.jit.load(str(tmp_path / "f"))
    owned.unlink()  # so it would have been run
    assert inert_reader.is_torchscript(tmp_path / "f")
    with pytest.raises(inert_reader.RefusedFile, match=r"TorchScript.*Nothing was executed"):
        inert_reader.load(tmp_path / "f")
    assert inert_reader.load_torchscript(tmp_path / "f") == {}
    assert not owned.exists()


def test_tensors_of_torchscript_are_its_state_dict(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2)).half().eval()
    torch.jit.script(model).save(str(tmp_path / "f"))
    read = inert_reader.load_torchscript(tmp_path / "f")
    expected = torch.jit.load(str(tmp_path / "f")).state_dict()
    assert read.keys() == expected.keys()
    for name, value in expected.items():
        assert read[name].dtype == value.dtype
        assert torch.equal(read[name], value)


@pytest.mark.parametrize("scripted", [True, False])
def test_a_flipped_bit_and_a_missing_end_are_noticed(tmp_path: Path, scripted: bool) -> None:
    path = tmp_path / "f"
    layer = torch.nn.Linear(3, 2)
    if scripted:
        torch.jit.script(layer).save(str(path))
    else:
        torch.save(layer.state_dict(), path)
    read = inert_reader.load_torchscript if scripted else inert_reader.load
    whole = path.read_bytes()
    at = whole.index(layer.weight.detach().numpy().tobytes())
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
    with pytest.raises(inert_reader.RefusedFile, match="damaged"):
        read(path)
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(inert_reader.RefusedFile):
            read(path)


def test_tar_files_are_not_opened(tmp_path: Path) -> None:
    """Older versions of torch unpack them; a tar may begin with the bytes of a legacy file."""
    legacy = io.BytesIO()
    torch.save({}, legacy, _use_new_zipfile_serialization=False)
    name = legacy.getvalue()[:15].decode("latin1")
    with tarfile.open(tmp_path / "f", "w", encoding="latin1", format=tarfile.GNU_FORMAT) as tar:
        tar.addfile(tarfile.TarInfo(name))
    assert (tmp_path / "f").read_bytes()[:15] == legacy.getvalue()[:15]
    with pytest.raises(inert_reader.RefusedFile, match="neither"):
        inert_reader.load(tmp_path / "f")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for name in ("pipe", "link", "."):
        with pytest.raises(inert_reader.RefusedFile, match="not a file"):
            inert_reader.load(tmp_path / name)
    with pytest.raises(inert_reader.RefusedFile, match="No such file"):
        inert_reader.load(tmp_path / "none")


def test_pickles_of_other_kinds_are_refused(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(pickle.dumps({"a": 1}))
    torch.save(OrderedDict(a=Attack(tmp_path / "owned")), tmp_path / "four", pickle_protocol=4)
    for name in ("plain", "four"):
        with pytest.raises(inert_reader.RefusedFile):
            inert_reader.load(tmp_path / name)
    assert not (tmp_path / "owned").exists()


def test_no_flip_in_an_archive_is_silent_or_raw(tmp_path: Path) -> None:
    """Names and offsets included: either it does not matter or it is refused."""
    path = tmp_path / "f"
    weight = torch.arange(8.0)
    torch.save({"weight": weight, "optimizer": published()["optimizer"]}, path)
    whole = path.read_bytes()
    start = whole.index(b"PK\x01\x02")  # all of the directory, and some of the rest
    for at in [*range(start, len(whole), 5), *range(0, start, 89)]:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x80]) + whole[at + 1 :])
        try:
            assert torch.equal(inert_reader.load(path)["weight"], weight)
        except inert_reader.RefusedFile:
            continue
