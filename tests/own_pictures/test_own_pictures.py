"""Own pictures in one command: what it chooses, prints and leaves, and what it says of mistakes."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

import train
from inference import Classifier
from own_pictures import __main__ as program
from own_pictures import machine, steps
from prompting import measured_precision
from prompting.errors import InputError
from prompting.image_encoder import VisionTransformer
from protocols.execution.single_run import RunError
from tests import tiny_clip
from tests.protocols.small import CLASSES, write_pictures

ROOT = Path(__file__).parents[2]
SMALL = (
    *("OPTIM.MAX_EPOCH", "2", "DATALOADER.NUM_WORKERS", "0", "USE_CUDA", "False"),
    *("TRAINER.PROMPTSRC.PROMPT_DEPTH_TEXT", "2", "TRAINER.PROMPTSRC.PROMPT_DEPTH_VISION", "2"),
    *("TRAINER.PROMPTSRC.GPA_MEAN", "1", "TRAINER.PROMPTSRC.GPA_STD", "1"),
)
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Five classes with train/ alone."""
    folder = write_pictures(tmp_path / "my pictures", train_images=10, test_images=1)
    shutil.rmtree(folder / "test")
    return folder


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    return {
        "BACKBONE": str(tiny_clip.write(tmp_path)),
        "OUTPUT": str(tmp_path / "output"),
        "PREC": "fp32",
    }


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, variables: dict[str, str]
) -> Call:
    """The program in this process: exit status, standard output, standard error."""

    def run_program(*arguments: object, **given: str) -> tuple[int, str, str]:
        for name, value in (variables | given).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("CALLED_FROM", str(Path.cwd()))
        monkeypatch.setattr(sys, "argv", ["own_pictures", *map(str, arguments)])
        capsys.readouterr()
        status = train.run_program(program.main)
        return status, *capsys.readouterr()

    return run_program


@pytest.mark.slow
def test_from_a_folder_to_a_classifier(
    call: Call, pictures: Path, variables: dict[str, str], tmp_path: Path
) -> None:
    """Through bash, called from elsewhere with a relative folder; then again, which trains nothing."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    arguments = ["my pictures", "--shots", "4", *SMALL]
    done = subprocess.run(
        ["bash", str(ROOT / "scripts/own_pictures.sh"), *arguments],
        cwd=tmp_path,
        env={**os.environ, **variables, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout
    assert "has no test/: of the 50 pictures in train/ 15 are held out" in said
    assert "5 classes; 25 pictures to train, 10 to validate, 15 to test" in said
    assert "precision: fp32 (as asked)" in said
    assert re.search(r"Zero-shot CLIP, asked .*: [\d.]+% of 15 test pictures right", said)
    assert "Training PromptSRC on 20 pictures, at least 4 a class (cat), 2 epochs" in said
    rows = [line.split() for line in said.splitlines()]
    compared = [row for row in rows if row and row[0] in CLASSES]
    assert [row[:2] for row in compared] == [[name, "3"] for name in CLASSES]
    total = next(row for row in rows if row[:2] == ["all", "15"])
    assert float(total[4]) == pytest.approx(float(total[3]) - float(total[2]), abs=0.11)
    folder = tmp_path / "output/own_pictures/my pictures"
    (output,) = (each for each in folder.iterdir() if each.is_dir())
    assert (output / "inspect/index.html").is_file()
    shared = folder / f"{output.name}.safetensors"
    assert str(pictures).encode() not in shared.read_bytes()
    assert Classifier.load(shared).classes == list(CLASSES)
    command_next = re.search(r"python predict\.py '(.*)' PICTURES", said)
    assert command_next[1] == str(output)
    checkpoint = next(output.glob("*/model.pth.tar-2"))
    written = checkpoint.stat().st_mtime_ns
    status, again, _ = call(pictures, *arguments[1:], PREC="")
    assert status == 0
    assert "Kept: the training in" in again
    assert "fp32, as in the run in" in again
    assert checkpoint.stat().st_mtime_ns == written
    assert [
        row for row in map(str.split, again.splitlines()) if row and row[0] in CLASSES
    ] == compared
    status, _, error = call(pictures, *arguments[1:], "OPTIM.LR", "0.1")
    assert status == 2
    assert "another output root (OUTPUT in the environment), or move that folder" in error


def test_the_documented_commands_are_those_of_the_program() -> None:
    page = (ROOT / "docs/own_pictures.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    lines = [shlex.split(line, comments=True) for line in block.splitlines()]
    assert len(lines) == 3
    for words in lines:
        assert words[:2] == ["bash", "scripts/own_pictures.sh"]
        assert program.parse_arguments(words[2:]).folder.name == "pictures"
    all_of_them = program.parse_arguments(["pictures", "DATASET.NUM_SHOTS", "-1"])
    assert all_of_them.options == ["DATASET.NUM_SHOTS", "-1"]


def test_what_the_machine_is_faster_in_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {"fp32": 2.0, "bf16": 1.0}
    monkeypatch.setattr(machine, "measure", lambda *of: times)
    monkeypatch.setattr(machine, "_encoder", lambda name: (name, 224))
    cpu = torch.device("cpu")
    names = list(machine.ENCODERS)
    chosen = machine.choose(names, "", lambda name: 100, cpu)
    assert (chosen.backbone, chosen.precision) == ("ViT-B/16", "bf16")
    assert "2,000 ms in fp32, 1,000 ms in bf16" in chosen.reasons[1]
    times["bf16"] = 1.9  # not worth it
    assert machine.choose(names, "", lambda name: 100, cpu).precision == "fp32"
    assert machine.choose(names, "bf16", lambda name: 100, cpu).precision == "bf16"
    chosen = machine.choose(names, "", lambda name: 10_000, cpu)
    assert chosen.backbone == "ViT-B/32"
    assert "ViT-B/16 would train for about 8.9 hours here" in chosen.reasons[0]
    assert machine.choose(names[:1], "", lambda name: 10_000, cpu).backbone == "ViT-B/16"


def test_a_precision_is_measured_and_the_encoder_left_as_it_is() -> None:
    encoder = VisionTransformer(32, 16, 64, 2, 32)
    for each in encoder.parameters():
        torch.nn.init.constant_(each, 0.5)
    seconds = measured_precision.measure(encoder, 32, torch.device("cpu"))
    assert set(seconds) == {"fp32", "bf16"}
    assert all(0 < each < 60 for each in seconds.values())
    assert encoder.proj.dtype == torch.float32
    assert encoder.proj.grad is None
    assert measured_precision.fastest({"fp32": 1.0, "bf16": 0.9}) == "fp32"
    assert measured_precision.fastest({"fp32": 1.0, "bf16": 0.7}) == "bf16"
    assert measured_precision.fastest({"fp32": 0.01, "bf16": 0.005}) == "fp32"


def test_a_mistake_is_a_line_and_nothing_stays(
    call: Call, pictures: Path, tmp_path: Path, monkeypatch
) -> None:
    empty, file = tmp_path / "empty", tmp_path / "file"
    empty.mkdir()
    file.write_text("")
    for name, text in (
        ("nothing", ""),
        ("blank", "\n \n"),
        ("twice", "cat Cat\ncat Kitten\n"),
        ("alike", "cat pet\ndog Pet\n"),
        ("word", "cat\n"),
    ):
        (tmp_path / f"{name}.txt").write_text(text)
    broken = shutil.copytree(pictures, tmp_path / "broken")
    (broken / "train/cat/0.png").write_text("no picture")
    wide = shutil.copytree(pictures, tmp_path / "wide")
    Image.new("RGB", (40_000, 1)).save(wide / "train/cat/0.png")
    few = write_pictures(tmp_path / "few", train_images=1, test_images=1)
    shutil.rmtree(few / "test")
    one = tmp_path / "one"
    shutil.copytree(pictures / "train" / "cat", one / "cat")
    bare = tmp_path / "bare"
    (bare / "train" / "cat").mkdir(parents=True)
    mistakes = {
        ("nowhere",): "there is no folder",
        (file,): "there is no folder",
        (empty,): "holds no class folders",
        (bare,): "holds no images",
        (few,): "too few to split",
        (one,): "holds one class, and a classifier needs two",
        (broken,): "1 images cannot be read: train/cat/0.png. Put good copies",
        (wide,): "1 images are too large",
        (pictures, "--classes-file", tmp_path / "nothing.txt"): "holds no class names",
        (pictures, "--classes-file", tmp_path / "blank.txt"): "holds no class names",
        (pictures, "--classes-file", tmp_path / "twice.txt"): "names 'cat' twice",
        (pictures, "--classes-file", tmp_path / "alike.txt"): "these are one: 'pet' and 'Pet'",
        (pictures, "--classes-file", tmp_path / "word.txt"): "is not of the form LABEL",
        (pictures, "--classes-file", tmp_path / "none.txt"): "none.txt does not exist",
        (pictures, "--shots", "0"): "--shots is 0",
        (pictures, "--method", "PromptSCR"): "did you mean 'PromptSRC'",
        (pictures, "--method", "ZeroshotCLIP"): "learns nothing",
        (pictures, "--method", "PromptKD"): "learns from a PromptSRC that is trained first",
        (pictures, "--builtin"): "BACKBONE are both given",
        (pictures, "OPTIM.MAX_EPOCH"): "has no value",
        (pictures, "OPTIM.MAX_EPOX", "1"): "OPTIM.MAX_EPOX",
        (pictures, "--sead"): "--help` lists the flags",
    }
    before = sorted(tmp_path.rglob("*"))
    for arguments, says in mistakes.items():
        status, _, error = call(*arguments)
        assert status == 2, (arguments, error)
        assert says in error, (arguments, error)
        assert "Traceback" not in error
        assert sorted(tmp_path.rglob("*")) == before, arguments
    variables = {
        "no such CLIP": {"BACKBONE": "ViT-B/61"},
        "no precision": {"PREC": "int8"},
        "an output that is a file": {"OUTPUT": str(file)},
    }
    for case, given in variables.items():
        status, _, error = call(pictures, *SMALL, **given)
        assert status == 2, (case, error)
        assert len(error.strip().splitlines()) == 1, (case, error)
        assert sorted(tmp_path.rglob("*")) == before, case
    # root may read and write anything, so that the system's answers are put in
    for mode, says in (
        (os.R_OK | os.X_OK, "no permission to read"),
        (os.W_OK | os.X_OK, "to write in it"),
    ):
        monkeypatch.setattr(os, "access", lambda path, asked, no=mode: asked != no)
        status, _, error = call(pictures, *SMALL)
        assert (status, says in error) == (2, True), error
        assert sorted(tmp_path.rglob("*")) == before


def test_class_names_are_read_as_train_reads_them(pictures: Path, tmp_path: Path) -> None:
    """A label ends at the first tab, or at the first space where there is none."""
    for old, new in (("cat", "red fox"), ("dog", "red deer")):
        (pictures / "train" / old).rename(pictures / "train" / new)
    names = tmp_path / "names.txt"
    names.write_text("red fox\tvulpes vulpes\n\nred deer\tcervus elaphus\n \n")
    options = steps.check_pictures(pictures, names)
    assert options == {"DATASET.DIR": str(pictures), "DATASET.CLASSNAMES": str(names)}


@pytest.mark.parametrize(
    "error",
    [
        RunError("Choose another output root (OUTPUT, --output), or move it away"),
        InputError("Choose another --output-dir, or move it away"),
    ],
)
def test_no_flag_of_another_program_is_advised(
    call: Call, pictures: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(*given: object) -> None:
        raise error

    monkeypatch.setattr(program, "make_plan", refuse)
    status, _, said = call(pictures)
    advice = "Choose another output root (OUTPUT in the environment), or move it away"
    assert (status, said) == (2, f"error: {advice}\n")
    assert "--output-dir" in call(pictures, "--output-dir", "elsewhere")[2]


def test_a_refused_training_is_told_in_its_own_words(
    call: Call, pictures: Path, tmp_path: Path
) -> None:
    """What the method needs is known in the other process alone."""
    status, said, error = call(pictures, *SMALL, "DATALOADER.K_TRANSFORMS", "3")
    assert status == 2
    assert error.startswith("error: DATALOADER.K_TRANSFORMS is 3: PromptSRC takes 1 view")
    assert "Zero-shot CLIP" in said
    assert not list(tmp_path.rglob("config.yaml"))


def test_progress_is_shown_without_a_terminal(capsys: pytest.CaptureFixture) -> None:
    lines = [
        f"epoch [{epoch}/4] batch [{batch}/2] time 1.0 (1.0) data 0.1 (0.1) loss 0.5 (0.6) "
        f"ce 0.4 (0.4) lr 1e-3 eta 0:00:0{8 - epoch}\n".encode()
        for epoch in (1, 2, 3, 4)
        for batch in (1, 2)
    ]
    code = f"import sys; sys.stdout.buffer.writelines({lines!r}); print('error: at last')"
    with (
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process,
        steps.tqdm(disable=True) as bar,
    ):
        said = steps.follow(process, bar)
    assert said[-1] == "error: at last"
    out = capsys.readouterr().out
    assert "epoch 4 of 4, loss 0.5, 0:00:04 left" in out
    assert len(out.splitlines()) == 8
