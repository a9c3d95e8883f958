"""docs/use.md: every command and every line of Python in it runs; only the settings on top differ."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inference import Classifier
from tests.trainers.conftest import Trained

from .conftest import BASE

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "use.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.slow
def test_the_commands_run(trained: Trained, pictures: list[Path], tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    album = tmp_path / "my pictures"
    album.mkdir()
    for number, path in enumerate(pictures):
        Image.open(path).save(album / f"{number}.png")
    settings, *others = blocks("bash")
    assert re.findall(r"^(\w+)=", settings, re.MULTILINE) == ["RUN", "PICTURES"]
    script = "".join(others)
    assert script.count("pip install -r requirements-export.txt") == 1
    assert (ROOT / "requirements-export.txt").is_file()
    script = script.replace("pip install", "true pip install")
    commands = [line for line in script.splitlines() if "python " in line]
    assert len(commands) == 13
    python = f'set -x; python() {{ "{sys.executable}" -W ignore "$@"; }}'
    run = shutil.copytree(trained("PromptSRC"), tmp_path / "run")
    given = f"RUN='{run}'; PICTURES='{album}'"
    for name in ("predict.py", "train.py", "inference", "trainers", "prompting", "datasets"):
        (tmp_path / name).symlink_to(ROOT / name)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f"{python}\n{given}\n{script}"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT / 'engine'}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert "logits within" in done.stdout
    for page in (run / "inspect", tmp_path / "on_new"):
        assert (page / "index.html").is_file()
    made = {path.name for path in tmp_path.iterdir() if path.is_file() and not path.is_symlink()}
    assert made == {
        *("answers.csv", "answers.json", "flowers.onnx", "flowers.json"),
        *("flowers.safetensors", "mine.safetensors"),
    }


def test_the_python_runs(
    trained: Trained, pictures: list[Path], tmp_path: Path, monkeypatch, capsys
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    first, tsne, onnx = blocks("python")
    run = trained("PromptSRC")
    names: dict = {"run": run, "pictures": pictures}
    exec(first, names)
    found = Classifier.load(run).predict(pictures)
    assert capsys.readouterr().out.splitlines()[-9:] == [
        f"{each.path} {each.names} {each.probabilities} " for each in found
    ]
    assert names["features"].shape == (2, 64)
    assert names["of_pictures"].shape == (9, 64)
    assert names["clip"].classes == ["rose", "tulip"]

    monkeypatch.chdir(tmp_path)
    exec(tsne, names)
    assert names["points"].shape == (9, 2)
    assert Path("map.png").stat().st_size > 5000

    class Session:
        def __init__(self, path: str) -> None:
            assert path == "flowers.onnx"

        def run(self, outputs, inputs):
            return [inputs["images"]]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    Path("flowers.json").write_text(json.dumps({"classes": BASE}))
    exec(onnx, {"images": np.eye(3, dtype=np.float32)[::-1]})
    assert capsys.readouterr().out == f"{BASE[::-1]}\n"
