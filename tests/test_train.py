"""train.py as a program: what it says of mistakes, its exit status, and how it is stopped."""

from __future__ import annotations

import errno
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import train
from prompting.errors import InputError
from tests.protocols.small import OPTIONS, write_pictures
from tests.tiny_clip import write as write_clip
from trainers import run_folder

Call = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Flags of a run on small pictures with a tiny CLIP."""
    folder = tmp_path_factory.mktemp("given")
    return [
        *("--trainer", "CoOp", "--seed", "1", "--backbone", str(write_clip(folder))),
        *("--dataset-config-file", "configs/datasets/my_images.yaml"),
        *("DATASET.DIR", str(write_pictures(folder / "pictures"))),
        *(*OPTIONS, "TRAINER.COOP.PREC", "fp32", "OPTIM.NAME", "sgd"),
    ]


@pytest.fixture
def call(given, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> Call:
    """train.py in this process: its exit status, and what it wrote to standard error."""
    monkeypatch.setattr(sys, "stdout", sys.stdout)  # put back what the log replaces

    def run_program(*flags: str, pairs: tuple[str, ...] = ()) -> tuple[int, str]:
        program = ["train.py", "--output-dir", str(tmp_path / "run"), *flags, *given, *pairs]
        monkeypatch.setattr(sys, "argv", program)
        status = train.run_program()
        return status, capsys.readouterr().err

    return run_program


@pytest.mark.parametrize(
    ("flags", "pairs", "says"),
    [
        (["--trainer", ""], (), "did you mean 'CoOp'"),
        ([], ("DATASET.NAME", "Caltech11"), "did you mean 'Caltech101'"),
        (["--sead", "1"], (), "--help` lists the flags"),
        (["--load-epoch", "last"], (), "invalid int value: 'last'"),
        ([], ("OPTIM.LRR", "1"), "the nearest is OPTIM.LR"),
        ([], ("OPTIM.LR",), "OPTIM.LR has no value"),
        ([], ("OPTIM.LR", "0.1", "--model-dir", "x"), "flags come before KEY VALUE pairs"),
        (["--config-file", "configs/nowhere.yaml"], (), "there is no configuration"),
        (["--resume", "nowhere"], (), "--resume nowhere: the folder is not there"),
        (["--eval-only", "--model-dir", "nowhere"], (), "there is no folder nowhere"),
    ],
)
def test_a_mistake_is_a_line_and_status_2(
    flags: list[str], pairs: tuple[str, ...], says: str, call: Call, tmp_path: Path
) -> None:
    if flags == ["--trainer", ""]:
        flags, pairs = [], ("TRAINER.NAME", "CoOpp")
    status, error = call(*flags, pairs=pairs)
    assert status == 2
    assert says in error
    assert error.startswith("error: ")
    assert len(error.splitlines()) <= 3
    assert "Traceback" not in error
    assert not (tmp_path / "run").exists()


def test_notes_stand_in_the_log(call: Call, tmp_path: Path) -> None:
    status, _ = call("--no-train", "--note=as in a table", "--note", "-- and a comment")
    assert status == 0
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "Note: as in a table\nNote: -- and a comment\n" in log


def test_debug_shows_where(call: Call) -> None:
    status, error = call("--debug", pairs=("OPTIM.LRR", "1"))
    assert status == 2
    assert error.startswith("Traceback")
    assert error.splitlines()[-1].startswith("error: ")


def test_our_own_bugs_keep_their_traceback(call: Call, monkeypatch) -> None:
    monkeypatch.setattr(train, "build_trainer", lambda cfg: {}["bug"])
    status, error = call()
    assert status == 1
    assert error.startswith("Traceback")
    assert "error: " not in error


@pytest.mark.parametrize(
    ("failure", "says"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/run/x"), "/run/x: Permission denied"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (torch.cuda.OutOfMemoryError("CUDA out of memory"), "lower DATALOADER.TRAIN_X.BATCH_SIZE"),
        (MemoryError(), "this machine has too little memory: lower DATALOADER"),
        (
            RuntimeError(
                "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
            ),
            "this machine has too little memory",
        ),
    ],
)
def test_mistakes_of_the_machine(failure: Exception, says: str, call: Call, monkeypatch) -> None:
    def fail(cfg) -> None:
        raise failure

    monkeypatch.setattr(train, "build_trainer", fail)
    status, error = call()
    assert status == 2
    assert says in error
    assert len(error.splitlines()) == 1


class Damaged(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> None:
        raise InputError("ant.png is no picture:\nfetch it again")


def test_a_message_out_of_a_worker_is_the_message_alone() -> None:
    with pytest.raises(InputError) as error:
        list(torch.utils.data.DataLoader(Damaged(), num_workers=1))
    assert "Traceback" in str(error.value)
    assert train._message(error.value).strip() == "ant.png is no picture:\nfetch it again"


@pytest.mark.skipif(torch.cuda.is_available(), reason="here CUDA is there")
def test_cuda_that_is_asked_for_must_be_there(call: Call) -> None:
    status, error = call(pairs=("USE_CUDA", "True"))
    assert status == 2
    assert "torch finds no CUDA device" in error


def test_a_place_that_cannot_be_written(call: Call, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    status, error = call("--output-dir", str(tmp_path / "file" / "run"))
    assert status == 2
    assert str(tmp_path / "file") in error
    assert "Traceback" not in error


def test_printing_never_stops_a_run(call: Call, tmp_path: Path, monkeypatch) -> None:
    console = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", console)
    name = "r\udcffun-\N{SNOWMAN}"
    status, error = call("--output-dir", str(tmp_path / name), pairs=("OPTIM.MAX_EPOCH", "1"))
    assert (status, error) == (0, "")
    assert (tmp_path / name / "results.json").is_file()
    console.flush()
    assert b"\\u2603" in console.buffer.getvalue()
    log = (tmp_path / name / "log.txt").read_text(encoding="utf-8")
    assert "\N{SNOWMAN}" in log
    assert "* accuracy" in log


class GoneConsole(io.StringIO):
    """A closed pipe, or a file on a full disk."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_console_that_takes_nothing_stops_no_run(call: Call, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "stdout", GoneConsole())
    assert call(pairs=("OPTIM.MAX_EPOCH", "1")) == (0, "")
    assert (tmp_path / "run" / "results.json").is_file()


def test_the_folder_is_free_again(call: Call, tmp_path: Path) -> None:
    assert call("--no-train") == (0, "")
    assert not run_folder._held


@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"]
)
def test_a_stopped_run_says_so_and_leaves_no_worker(
    number: int, status: int, given: list[str], tmp_path: Path
) -> None:
    output = tmp_path / "run"
    command = [sys.executable, "-W", "ignore", "train.py", "--output-dir", str(output), *given]
    command += ["OPTIM.MAX_EPOCH", "5000", "DATALOADER.NUM_WORKERS", "1"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # a shell's background job is born deaf to Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    resume = output / "prompt_learner" / "resume.pth"
    while not resume.exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(number)
    _, error = process.communicate(timeout=30)  # a worker that lingers would keep the pipe open
    assert process.returncode == status
    name = signal.Signals(number).name
    assert error.strip() == f"stopped by {name}: the run goes on with the same command"
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    torch.load(resume, weights_only=True)
