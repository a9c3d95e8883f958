"""Resume states: plain values for any scheduler, and nothing damaged or foreign is gone on from."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR

from prompting import checkpoints
from trainers import prompt_trainer, resume

from .conftest import Run, assert_same, learned
from .test_training import Killed, kill_at

STEPS_AN_EPOCH = 6


class Warmup(LRScheduler):
    """As in the original Dassl: the state holds the successor itself."""

    def __init__(self, optimizer, successor, epochs=1, rate=1e-5) -> None:
        self.successor, self.epochs, self.rate = successor, epochs, rate
        super().__init__(optimizer)

    def get_lr(self) -> list[float]:
        if self.last_epoch >= self.epochs:
            return self.successor.get_last_lr()
        return [self.rate for _ in self.base_lrs]

    def step(self, epoch=None) -> None:
        if self.last_epoch >= self.epochs:
            self.successor.step(epoch)
            self._last_lr = self.successor.get_last_lr()
        else:
            super().step(epoch)


def foreign_warmup(optimizer, _cfg=None) -> Warmup:
    return Warmup(optimizer, CosineAnnealingLR(optimizer, 3.0))


def nested_in_a_list(optimizer) -> Warmup:
    warmup = Warmup(optimizer, MultiStepLR(optimizer, [2, 2, 3], gamma=0.5))
    warmup.others = [CosineAnnealingLR(optimizer, 7.0)]
    return warmup


@pytest.mark.parametrize("build", [foreign_warmup, nested_in_a_list])
def test_any_scheduler_goes_on_where_it_was(build, tmp_path: Path) -> None:
    def rates(optimizer, scheduler, epochs: int) -> list[float]:
        seen = []
        for _ in range(epochs):
            optimizer.step()
            scheduler.step()
            seen.append(optimizer.param_groups[0]["lr"])
        return seen

    def start():
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(2))], lr=0.1)
        return optimizer, build(optimizer)

    unbroken = rates(*start(), 6)
    for done in range(6):
        optimizer, scheduler = start()
        rates(optimizer, scheduler, done)
        state = {"o": optimizer.state_dict(), "s": resume.scheduler_state(scheduler)}
        torch.save(state, tmp_path / "state")
        state = torch.load(tmp_path / "state", weights_only=True)
        optimizer, scheduler = start()
        optimizer.load_state_dict(state["o"])
        resume.restore_scheduler(scheduler, state["s"])
        assert scheduler.successor.optimizer is optimizer
        assert rates(optimizer, scheduler, 6 - done) == unbroken[done:]


def test_a_run_with_a_nested_scheduler_is_resumed(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompt_trainer, "build_lr_scheduler", foreign_warmup)
    unbroken = learned(run("CoOp", "unbroken"))
    with monkeypatch.context() as patch:
        kill_at(patch, "CoOp", 2 * STEPS_AN_EPOCH + 1)
        with pytest.raises(Killed):
            run("CoOp", "broken")
    assert_same(learned(run("CoOp", "broken")), unbroken)


@pytest.fixture
def killed(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of a run of PromptSRC that was killed in its second epoch."""
    with monkeypatch.context() as patch:
        kill_at(patch, "PromptSRC", STEPS_AN_EPOCH + 2)
        with pytest.raises(Killed):
            run("PromptSRC", "killed")
    return tmp_path / "killed"


CTX = "prompt_learner.ctx"


def other_shape(state: dict) -> None:
    state["learned"][CTX] = state["learned"][CTX][:1]


def momentum_of_other_shape(state: dict) -> None:
    buffers = state["optimizer"]["state"]
    buffers[0]["momentum_buffer"] = buffers[0]["momentum_buffer"][:1]


def average_of_other_shape(state: dict) -> None:
    sums = state["average"]["sums"]
    sums[CTX] = sums[CTX][:1]


def nan(state: dict) -> None:
    state["learned"][CTX][0, 0] = float("nan")


def infinite_average(state: dict) -> None:
    state["average"]["sums"][CTX][0, 0] = float("inf")


def without_a_tensor(state: dict) -> None:
    del state["learned"][CTX]


def without_the_optimizer(state: dict) -> None:
    del state["optimizer"]


def of_no_epoch(state: dict) -> None:
    state["epoch"] = 4


def of_the_last_epoch(state: dict) -> None:
    state["epoch"] = 3


def of_no_number(state: dict) -> None:
    state["best_result"] = {"value": 3.0}


def of_no_whole_number(state: dict) -> None:
    state["epoch"] = True


def scrambled(state: dict) -> None:
    state["random"] = 3


def out_of_range(state: dict) -> None:
    state["random"]["python"][1][0] = -1


def of_tensors(state: dict) -> None:
    state["epoch"] = state["optimizer"]


def of_nothing(state: dict) -> None:
    state["identity"] = 3


def of_a_text(state: dict) -> None:
    state["identity"] = ""


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (other_shape, rf"learned\.{CTX} is \(1, .* in the file and \(4, .* here"),
        (momentum_of_other_shape, r"momentum_buffer is \(1, .* in the file and"),
        (average_of_other_shape, rf"average\.sums\.{CTX} is \(1,"),
        (nan, f"{CTX} is NaN or infinite"),
        (infinite_average, f"sums.{CTX} is NaN or infinite"),
        (without_a_tensor, f"{CTX} is not in the file"),
        (without_the_optimizer, "cannot be gone on from.*optimizer"),
        (of_no_epoch, "is of epoch 4, but OPTIM.MAX_EPOCH is 3"),
        (of_the_last_epoch, "is of epoch 3, but OPTIM.MAX_EPOCH is 3"),
        (of_no_whole_number, "is of epoch True"),
        (of_no_number, "cannot be gone on from"),
        (scrambled, "cannot be gone on from"),
        (of_tensors, r"is of epoch \{'state': .{,100} \.\.\., but"),
        (out_of_range, "cannot be gone on from"),
        (of_nothing, "its identity is 3, which is no dict"),
        (of_a_text, "its identity is '', which is no dict"),
    ],
)
def test_a_spoilt_state_is_refused(spoil, says: str, run: Run, killed: Path) -> None:
    path = killed / "VLPromptLearner" / "resume.pth"
    state = torch.load(path, weights_only=True)
    del state["tensors"]  # as earlier versions wrote it; with the list, all these differ from it
    spoil(state)
    torch.save(state, path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=f"resume.pth.*{says}") as error:
        run("PromptSRC", "killed")
    assert "\n" not in str(error.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize("key", ["optimizer", "average"])
def test_a_state_that_has_lost_a_tensor_is_refused(key: str, run: Run, killed: Path) -> None:
    """Without its momentum, or its part of the average, a training would end elsewhere."""
    (path,) = killed.glob("*/resume.pth")
    state = torch.load(path, weights_only=True)
    if key == "optimizer":
        del state["optimizer"]["state"][0]
    else:
        state["average"]["sums"].popitem()
    torch.save(state, path)
    with pytest.raises(ValueError, match=rf"{key}\..* is not what was saved, but missing"):
        run("PromptSRC", killed.name)


def test_a_flipped_bit_is_noticed(run: Run, killed: Path) -> None:
    path = killed / "VLPromptLearner" / "resume.pth"
    content = bytearray(path.read_bytes())
    content[
        content.index(torch.load(path, weights_only=True)["learned"][CTX].numpy().tobytes())
    ] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"resume\.pth cannot be read.*Remove it"):
        run("PromptSRC", "killed")


@pytest.mark.parametrize(
    "content",
    [
        *("", '{"epochs": [{"epoch": 1', "[]", "3"),
        '{"epochs": [{"epoch": 1, "steps": 6}], "tests": []}',
        '{"epochs": [], "tests": ""}',
        '{"epochs": [{"epoch": 1, "steps": 6, "seconds": {}}], "tests": []}',
    ],
)
def test_damaged_curves_are_named(content: str, run: Run, killed: Path) -> None:
    (killed / "curves.json").write_text(content)
    with pytest.raises(ValueError, match=r"curves\.json is empty or damaged\. Remove it"):
        run("PromptSRC", "killed")


class TestResumeFlag:
    def test_goes_on_in_another_folder(self, run: Run, killed: Path) -> None:
        other = run("PromptSRC", "other", "--resume", str(killed))
        assert_same(learned(other), learned(run("PromptSRC", "unbroken")))

    def test_a_second_kill_goes_on_in_the_own_folder(
        self, run: Run, killed: Path, monkeypatch: pytest.MonkeyPatch, capsys
    ) -> None:
        flags = ("--resume", str(killed))
        with monkeypatch.context() as patch:
            kill_at(patch, "PromptSRC", 2 * STEPS_AN_EPOCH + 2)
            with pytest.raises(Killed):
                run("PromptSRC", "other", *flags)
        capsys.readouterr()
        other = run("PromptSRC", "other", *flags)
        assert "2 of 3 epochs are done" in capsys.readouterr().out
        assert_same(learned(other), learned(run("PromptSRC", "unbroken")))

    @pytest.mark.parametrize(
        ("settings", "says"),
        [
            ({"OPTIM__LR": "0.1"}, r"OPTIM\.LR was 0\.0025 and is 0\.1"),
            ({"SEED": "2"}, "SEED was 1 and is 2"),
            ({"OPTIM__MAX_EPOCH": "1"}, r"OPTIM\.MAX_EPOCH was 3 and is 1"),
            ({"DATASET__NUM_SHOTS": "2"}, r"DATASET\.NUM_SHOTS was 4 and is 2"),
        ],
    )
    def test_another_configuration_is_refused(
        self, settings: dict, says: str, run: Run, killed: Path
    ) -> None:
        with pytest.raises(ValueError, match=says):
            run("PromptSRC", "other", "--resume", str(killed), **settings)
        assert not (killed.parent / "other").exists()

    def test_other_pictures_are_refused(self, run: Run, killed: Path, data: Path) -> None:
        root = shutil.copytree(data, killed.parent / "data")
        for path in (root / "caltech-101/101_ObjectCategories/ant").glob("*.jpg"):
            path.write_bytes(path.read_bytes() + b"0")
        with pytest.raises(
            ValueError, match=r"of other pictures: train_x: 'ant' \(4 then, 4 now\)"
        ):
            run("PromptSRC", "other", "--resume", str(killed), DATASET__ROOT=str(root))

    def test_a_folder_that_is_not_there(self, run: Run, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"--resume .*nowhere: the folder is not there"):
            run("PromptSRC", "other", "--resume", str(tmp_path / "nowhere"))
        assert not (tmp_path / "other").exists()

    def test_a_folder_without_a_whole_epoch(self, run: Run, killed: Path) -> None:
        (killed / "VLPromptLearner" / "resume.pth").unlink()
        with pytest.raises(ValueError, match="no whole epoch to go on from"):
            run("PromptSRC", "other", "--resume", str(killed))

    def test_the_best_epoch_comes_along(
        self, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys
    ) -> None:
        best = {"TEST__FINAL_MODEL": "best_val", "OPTIM__LR": "0"}  # the first epoch stays the best
        with monkeypatch.context() as patch:
            kill_at(patch, "CoOp", STEPS_AN_EPOCH + 2)
            with pytest.raises(Killed):
                run("CoOp", "killed", **best)
        other = run("CoOp", "other", "--resume", str(tmp_path / "killed"), **best)
        assert "(epoch 1)" in capsys.readouterr().out
        assert (other / "prompt_learner" / "model-best.pth.tar").is_file()


@pytest.mark.parametrize("last", ["save_prompts", "make_newest"])
def test_a_run_of_one_epoch_that_is_killed_as_it_saves_is_completed(
    last: str, run: Run, monkeypatch
) -> None:
    def files(output: Path) -> set[str]:
        return {path.name for path in output.glob("prompt_learner/*")}

    unbroken = run("CoOp", "unbroken", OPTIM__MAX_EPOCH="1")

    def kill(*_) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, last, kill)
        with pytest.raises(Killed):
            run("CoOp", "broken", OPTIM__MAX_EPOCH="1")
    broken = run("CoOp", "broken", OPTIM__MAX_EPOCH="1")
    assert files(broken) == files(unbroken)
    assert_same(learned(broken, 1), learned(unbroken, 1))
