"""Checkpoints: the published format is read, and nothing pickled in a file is ever run."""

from __future__ import annotations

import json
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from prompting import checkpoints
from prompting.learned_state import LearnedState
from prompting.tensors import digest

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
    for key, value in final.items():
        assert torch.equal(state[key], value)


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


def test_the_file_to_share_holds_the_same(tmp_path: Path) -> None:
    tensors = {"ctx": torch.randn(4, 8), "scale": torch.tensor(2.0), "half": torch.ones(3).half()}
    header = {"method": "X", "classnames": ["müß", "b"], "depth": [1, 2]}
    probe = {"classnames": ["b"], "class_features": torch.ones(1, 3), "logits": torch.ones(1, 1)}
    path = tmp_path / "prompts.safetensors"
    checkpoint = {"state_dict": tensors, "epoch": 7, "header": header, "probe": probe}
    checkpoints.save_prompts(path, checkpoint)
    torch.save(checkpoint, tmp_path / "model.pth.tar-7")
    shared, own = checkpoints.load(path), checkpoints.load(tmp_path / "model.pth.tar-7")
    assert shared.keys() == own.keys()
    assert (shared["header"], shared["epoch"]) == (header, 7)
    for name, value in own["state_dict"].items():
        assert shared["state_dict"][name].dtype == value.dtype
        assert torch.equal(shared["state_dict"][name], value)
    assert shared["probe"]["classnames"] == ["b"]
    assert torch.equal(shared["probe"]["class_features"], torch.ones(1, 3))
    checkpoints.check_header(path, shared["header"], {"method": "X", "depth": (1, 2)})


def test_a_flipped_bit_in_the_file_to_share_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "prompts.safetensors"
    checkpoint = {
        "state_dict": {"ctx": torch.arange(4.0)},
        "header": {"method": "CoOp"},
        "epoch": 1,
    }
    checkpoints.save_prompts(path, checkpoint)
    whole = path.read_bytes()
    for at in (whole.index(b"CoOp"), len(whole) - 2):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(checkpoints.CheckpointError, match="checksum"):
            checkpoints.load(path)
    path.write_bytes(whole[:-3])
    with pytest.raises(checkpoints.CheckpointError, match="damaged"):
        checkpoints.load(path)


@pytest.mark.parametrize("header", ["null", "[1]", '"x"'])
def test_a_shared_file_without_a_header_is_refused(tmp_path: Path, header: str) -> None:
    path = tmp_path / "prompts.safetensors"
    state = {"ctx": torch.ones(1)}
    metadata = {"header": header, "sha256": digest(state, header)}
    save_file(state, path, metadata)
    with pytest.raises(checkpoints.CheckpointError, match="cannot be read as prompts"):
        checkpoints.load(path)


@pytest.mark.parametrize(
    "probe",
    [
        *([1], {}, {"classnames": [3], "class_features": 1}),
        {"classnames": [], "class_features": torch.ones(0, 3), "logits": torch.ones(1, 0)},
    ],
)
def test_a_malformed_probe_is_refused(tmp_path: Path, probe: object) -> None:
    path = tmp_path / "model.pth.tar-1"
    checkpoints.save(path, {"state_dict": {}, "epoch": 1, "header": {}, "probe": probe})
    with pytest.raises(checkpoints.CheckpointError, match="its probe is not class features"):
        checkpoints.load(path)


@pytest.mark.parametrize("names", [[], ["ant", 3], "ant", None, {"ant": 1}])
def test_classes_that_are_no_names_are_refused(tmp_path: Path, names: object) -> None:
    path = tmp_path / "model.pth.tar-1"
    checkpoints.save(path, {"state_dict": {}, "epoch": 1, "header": {"classnames": names}})
    with pytest.raises(checkpoints.CheckpointError, match=r"its classes are .* which are no"):
        checkpoints.load(path)


@pytest.mark.parametrize("probe", [3, [1], "x"])
def test_a_shared_file_whose_probe_is_none_is_refused(tmp_path: Path, probe: object) -> None:
    path = tmp_path / "prompts.safetensors"
    header = json.dumps({"probe": probe})
    state = {"ctx": torch.ones(1)}
    save_file(state, path, {"header": header, "sha256": digest(state, header)})
    with pytest.raises(checkpoints.CheckpointError, match="its probe is not class features"):
        checkpoints.load(path)


@pytest.mark.parametrize("epoch", [-1, True, "3", 1.5, None])
def test_an_epoch_that_is_no_number_of_epochs_is_refused(tmp_path: Path, epoch: object) -> None:
    path = tmp_path / "model.pth.tar-1"
    checkpoints.save(path, {"state_dict": {}, "epoch": epoch, "header": {}})
    with pytest.raises(checkpoints.CheckpointError, match="which is no number of epochs"):
        checkpoints.load(path)


def test_a_flipped_bit_in_a_checkpoint_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "model.pth.tar-1"
    checkpoints.save(path, {"state_dict": {"ctx": torch.full((5,), 1.5)}, "epoch": 1})
    whole = bytearray(path.read_bytes())
    whole[whole.index(torch.full((5,), 1.5).numpy().tobytes())] ^= 1
    path.write_bytes(whole)
    with pytest.raises(checkpoints.CheckpointError, match=r"checksum of .*data/0 is wrong"):
        checkpoints.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"header": [1]}, r"its header is \[1\]"),
        ({"epoch": "last"}, "its epoch is 'last'"),
        ({"state_dict": {"ctx": [1.0]}}, "'ctx' in its state_dict is list"),
        ({"state_dict": {3: torch.ones(1)}}, "3 in its state_dict"),
        ({"state_dict": None}, "holds no state_dict"),
    ],
)
def test_what_is_no_checkpoint_is_refused_by_name(tmp_path: Path, change: dict, message) -> None:
    path = tmp_path / "model.pth.tar-1"
    torch.save({"state_dict": {"ctx": torch.ones(2)}, "epoch": 1, "header": {}, **change}, path)
    with pytest.raises(checkpoints.CheckpointError, match=message):
        checkpoints.load(path)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.tensor([1.0, float("nan")]), "ctx holds NaN or infinite"),
        (torch.tensor([1.0, float("-inf")]), "ctx holds NaN or infinite"),
        (torch.tensor([float("inf"), float("-inf")]), "ctx holds NaN or infinite"),
        (torch.tensor([1, 2]), r"ctx is no dense floating-point tensor but torch\.int64"),
        (torch.tensor([1j, 2]), "ctx is no dense floating-point tensor"),
    ],
)
def test_prompts_that_are_no_numbers_are_refused(value: torch.Tensor, message: str) -> None:
    own = torch.zeros(2)
    learner = SimpleNamespace(published_tensors=lambda: {"ctx": own})
    learned = LearnedState(SimpleNamespace(prompt_learner=learner), "", [])
    with pytest.raises(checkpoints.CheckpointError, match=message):
        learned.load(Path("f"), {"ctx": value}, ours=True)
    assert torch.equal(own, torch.zeros(2))
    large = torch.tensor([3e38, 3e38])  # finite, though their sum is not
    learned.load(Path("f"), {"ctx": large}, ours=True)
    assert torch.equal(own, large)


def test_names_of_a_parallel_model_are_read(tmp_path: Path) -> None:
    torch.save({"state_dict": {"module.prompt_learner.ctx": torch.ones(2)}}, tmp_path / "f")
    assert list(checkpoints.load(tmp_path / "f")["state_dict"]) == ["prompt_learner.ctx"]


@pytest.mark.parametrize(
    "text", [b"", b"\n", b"../../x", b"/etc/passwd", b"..", b"a\\b", b"C:x", b"\xff\xfe", b"a\nb"]
)
def test_a_strange_name_in_the_checkpoint_file_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "model.pth.tar-3").touch()
    (tmp_path / "checkpoint").write_bytes(text)
    with pytest.raises(checkpoints.CheckpointError, match=r"should hold.*holds model\.pth\.tar-3"):
        checkpoints.locate(tmp_path, None)


def test_a_folder_one_level_too_deep_is_told(tmp_path: Path) -> None:
    (tmp_path / "run" / "learner").mkdir(parents=True)
    (tmp_path / "run" / "learner" / "model.pth.tar-3").touch()
    wrong = tmp_path / "run" / "learner" / "learner"
    with pytest.raises(
        checkpoints.CheckpointError, match=f"name the folder above.*{tmp_path}/run$"
    ):
        checkpoints.load(checkpoints.locate(wrong, 3))


def test_what_earlier_versions_wrote_is_accepted_and_nothing_else() -> None:
    expected = {"method": "X", "backbone": "new", "earlier_backbone": "old", "depth": 2}
    for header in (expected, {"method": "X", "backbone": "old", "depth": 2}):
        checkpoints.check_header(Path("f"), header, expected)
    for change in ({"backbone": "else"}, {"backbone": "old", "depth": 3}, {"backbone": None}):
        with pytest.raises(checkpoints.CheckpointError, match="made for something else"):
            checkpoints.check_header(Path("f"), {**expected, **change}, expected)
