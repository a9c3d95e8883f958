"""What the documents say runs as it stands there."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import torch

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
    shutil.copy(ROOT / "train.py", folder)
    shutil.copytree(ROOT / "trainers", folder / "trainers")
    for name in ("prompting", "datasets", "configs"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def test_the_documented_method_trains_by_the_documented_command(tmp_path: Path) -> None:
    (code,) = blocks("docs/add_a_method.md", "python")
    (block,) = blocks("docs/add_a_method.md", "bash")
    ((python, *arguments),) = commands(block)
    assert python == "python"
    (checkout(tmp_path) / "trainers" / "kgcoop.py").write_text(code)
    subprocess.run([sys.executable, *arguments], cwd=tmp_path, check=True, capture_output=True)
    (path,) = tmp_path.glob("output/kgcoop/prompt_learner/model.pth.tar-1")
    assert torch.load(path, weights_only=True)["header"]["method"] == "KgCoOp"
    log = (tmp_path / "output/kgcoop/log.txt").read_text()
    distances = [float(value) for value in re.findall(r"distance ([\d.]+)", log)]
    assert distances
    assert all(0 < distance < 1 for distance in distances)
