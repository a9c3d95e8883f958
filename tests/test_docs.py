"""What the documents say runs as it stands there."""

from __future__ import annotations

import csv
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from own_pictures.__main__ import parse_arguments
from tests.datasets.miniature import caltech101
from tests.protocols.test_new_method import copy_of_the_project

ROOT = Path(__file__).parents[1]


def blocks(document: str, language: str) -> list[str]:
    """The fenced blocks of a document in one language."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)


def commands(block: str) -> list[list[str]]:
    """The commands of a block, continued lines joined and comments left out."""
    lines = block.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def checkout(folder: Path) -> Path:
    """The checkout in a folder of its own, where files can be added."""
    own = {"train.py", "trainers", "data", "output"}
    for path in ROOT.iterdir():
        if path.name not in own and not path.name.startswith("."):
            (folder / path.name).symlink_to(path)
    shutil.copy(ROOT / "train.py", folder)
    shutil.copytree(ROOT / "trainers", folder / "trainers")
    return folder


def test_the_documented_method_is_the_one_that_is_here() -> None:
    shown, _ = blocks("docs/add_a_method.md", "python")
    assert shown == (ROOT / "trainers/kgcoop.py").read_text()


@pytest.mark.slow
def test_the_documented_new_method_runs_the_table(tmp_path: Path, world: Path) -> None:
    _, code = blocks("docs/add_a_method.md", "python")
    (block,) = blocks("docs/add_a_method.md", "bash")
    tree = copy_of_the_project(tmp_path / "tree")
    (tree / "trainers/vpt.py").write_text(code)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = dict(os.environ, PATH=path, PREC="fp32", DATA=str(world))
    shorter = {"bash": ["OPTIM.MAX_EPOCH", "1"], "python": ["--options", "OPTIM.MAX_EPOCH", "1"]}
    said = ""
    for words in commands(block):
        variables = dict(word.split("=") for word in words if re.match(r"[A-Z]+=", word))
        words = words[len(variables) :] + shorter.get(words[len(variables)], [])
        done = subprocess.run(
            words, cwd=tree, env=environment | variables, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        said = done.stdout
    assert "VPT/builtin/seed1: kept" in said
    rows = [line.split() for line in said.splitlines() if line.startswith("builtin_flowers")]
    assert [row[1] for row in rows] == ["ZeroshotCLIP", "VPT"]
    header = torch.load(next(tree.glob("output/**/model.pth.tar-1")), weights_only=True)["header"]
    assert header["method"] == "VPT"


def test_the_commands_of_the_readme_run(tmp_path: Path) -> None:
    """On a miniature Caltech101 and the small CLIP; the first two are CI's own, own pictures have
    tests/own_pictures, and the download needs the internet (tests/datasets/test_download.py has a
    server instead)."""
    first, own, real = blocks("README.md", "bash")
    for words in commands(own):
        assert words[:2] == ["bash", "scripts/own_pictures.sh"]
        parse_arguments(words[2:])
    assert [words[1] for words in commands(first)] == [
        "scripts/promptsrc/base2new_train.sh",
        "scripts/test.sh",
    ]
    tree = checkout(tmp_path)
    caltech101(tree / "data")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = dict(os.environ, CFG="builtin", PATH=path)
    download, check, train, test, report = commands(real)
    assert download[:4] == ["python", "-m", "datasets.download", "Caltech101"]

    def run(words: list[str], *more: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [*words, *more], cwd=tree, env=environment, capture_output=True, text=True
        )

    checked = run(check)
    assert checked.returncode == 1  # a miniature is not the published set
    assert "Caltech101" in checked.stdout
    for script in (train, test):
        done = run(script, "OPTIM.MAX_EPOCH", "1", "TRAINER.PROMPTSRC.GPA_MEAN", "1")
        assert done.returncode == 0, done.stderr
        assert "* accuracy: " in done.stdout
    reported = run(report)
    assert reported.returncode == 0, reported.stderr
    assert "PromptSRC" in reported.stdout


def flowers(text: str) -> dict[str, list[str]]:
    """What a printed table says of the built-in flowers, by method: base, new and H."""
    rows = (re.split(r"\s{2,}", line.strip()) for line in text.splitlines())
    return {row[1]: row[2:] for row in rows if row[0] == "builtin_flowers"}


def reported_flowers(column: str) -> dict[str, list[float]]:
    """A column of the report on the built-in flowers, by method: base, new and H."""
    with open(ROOT / "docs/examples/report.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["protocol"] == "base2new"]
    found: dict[str, list[float]] = {}
    for row in rows:
        if row["dataset"] == "builtin_flowers" and row[column]:
            found.setdefault(row["method"], []).append(float(row[column]))
    return found


def test_the_averages_in_the_readme_are_those_of_the_report() -> None:
    shown, *_ = blocks("README.md", "text")
    means, deviations = map(reported_flowers, ("mean", "standard_deviation"))
    for method, figures in flowers(shown).items():
        spreads = [""] * 3
        if method != "ZeroshotCLIP":
            spreads = [f" ± {value:.2f}" for value in deviations[method]]
        assert figures == [
            f"{mean:.2f}{spread}" for mean, spread in zip(means[method], spreads, strict=True)
        ]


@pytest.mark.slow
def test_the_first_command_prints_what_the_report_says_of_a_seed(
    tmp_path: Path, world: Path
) -> None:
    """One of the seeds, for time; within what another processor's rounding can change."""
    script, _ = commands(blocks("README.md", "bash")[0])
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    variables = {"PATH": path, "DATA": str(world), "OUTPUT": str(tmp_path / "output")}
    environment = dict(os.environ, SEEDS="1", **variables)
    done = subprocess.run(script, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    printed = {
        method: [float(figure) for figure in figures]
        for method, figures in flowers(done.stdout).items()
    }
    assert list(printed) == list(flowers(blocks("README.md", "text")[0]))
    reported = reported_flowers("seed_1")
    for method, figures in printed.items():
        assert figures == pytest.approx(reported[method], abs=3)
    base, new, _ = (ours - zero for ours, zero in zip(*reversed(printed.values()), strict=True))
    assert base > 5
    assert new > -5


def test_the_tables_of_the_findings_are_those_of_the_report() -> None:
    def rows(document: str) -> set[tuple[str, ...]]:
        lines = (ROOT / document).read_text().splitlines()
        cells = (tuple(map(str.strip, line.split("|"))) for line in lines)
        return {row for row in cells if len(row) > 3 and row[1].startswith(("builtin_", "average"))}

    found = rows("docs/findings.md")
    assert len(found) > 50
    assert found <= rows("docs/examples/report.md")


def test_the_inline_command_of_the_readme_is_the_one_that_is_tried() -> None:
    """By tests/test_golden.py."""
    inline = re.findall(r"`(python -m [^`]+)`", (ROOT / "README.md").read_text())
    assert inline == ["python -m tests.check_golden tests/fixtures/golden"]
