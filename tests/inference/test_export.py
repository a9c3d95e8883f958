"""Exported files give what the run gives, on runtimes that know nothing of this project."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

import train
from inference import Classifier, export, onnx_graph
from prompting.errors import InputError
from tests.trainers.conftest import LEARNING, METHODS, Trained

from .conftest import BASE

FAST = ("PromptSRC", "MMRL")  # three seconds each
EXPORTED = [
    pytest.param(name, marks=() if name in FAST else pytest.mark.slow)
    for name in LEARNING
    if not METHODS[name].model_class.text_depends_on_image
]


def prepare(path: Path, about: dict) -> np.ndarray:
    """What the description says becomes of a picture, by hand."""
    steps = about["preprocessing"]
    image = Image.open(path).convert(steps["colours"])
    side, (height, width) = steps["resize_shorter_side_to"], steps["centre_crop"]
    short = min(image.size)
    size = tuple(int(side * each / short) for each in image.size)
    kinds = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
    image = image.resize(size, kinds[steps["interpolation"]])
    left, top = round((size[0] - width) / 2), round((size[1] - height) / 2)
    image = image.crop((left, top, left + width, top + height))
    pixels = np.asarray(image, np.float32) / steps["divide_by"]
    pixels = (pixels - np.float32(steps["mean"])) / np.float32(steps["deviation"])
    return pixels.transpose(2, 0, 1)


@pytest.mark.parametrize("method", EXPORTED)
def test_the_graph_gives_the_runs_logits(
    method: str, trained: Trained, pictures: list[Path], tmp_path: Path
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    classifier = Classifier.load(trained(method)).with_classes(BASE)
    path = tmp_path / "run.onnx"
    opset, comparison = export.write_onnx(classifier, path)
    assert opset >= 18
    assert comparison.holds
    assert comparison.difference > 0  # both were computed
    about = json.loads((tmp_path / "run.json").read_text())
    assert about["classes"] == BASE
    images = np.stack([prepare(picture, about) for picture in pictures])
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == ["batch", 3, 32, 32]
    expected = classifier.logits(pictures)
    for some in (slice(0, 9), slice(0, 1)):
        (found,) = session.run(["logits"], {"images": images[some]})
        torch.testing.assert_close(torch.tensor(found), expected[some], atol=1e-4, rtol=0)
        assert found.argmax(1).tolist() == expected[some].argmax(1).tolist()
    assert len(session.get_outputs()) == 1
    assert path.stat().st_size < 8 * 2**20  # the text encoder is not in it


def test_a_graph_that_differs_is_not_kept(trained: Trained, tmp_path: Path, monkeypatch) -> None:
    pytest.importorskip("onnxscript")
    classifier = Classifier.load(trained("IVLP"))
    own = onnx_graph.Graph.forward
    monkeypatch.setattr(onnx_graph.Graph, "forward", lambda self, images: own(self, images) * 1.001)
    with pytest.raises(InputError, match=r"gives other logits .* of 8 pictures"):
        export.write_onnx(classifier, tmp_path / "run.onnx")
    assert not list(tmp_path.iterdir())


def test_class_features_classify_with_any_image_features(
    trained: Trained, pictures: list[Path], tmp_path: Path
) -> None:
    classifier = Classifier.load(trained("IVLP"))
    export.write_features(classifier, tmp_path / "features.safetensors")
    with safe_open(tmp_path / "features.safetensors", "pt") as file:
        features, scale = file.get_tensor("class_features"), file.get_tensor("scale")
        about = json.loads(file.metadata()["about"])
    assert about["classes"] == BASE
    assert about["method"] == "IVLP"
    logits = scale * classifier.encode_images(pictures) @ features.T
    torch.testing.assert_close(logits, classifier.logits(pictures))


def test_prompts_to_share_say_nothing_of_this_machine(
    trained: Trained, data: Path, pictures: list[Path], tmp_path: Path
) -> None:
    path = tmp_path / "mine.safetensors"
    export.write_prompts(trained("CoOp"), path)
    assert str(data).encode() not in path.read_bytes()
    assert str(trained("CoOp")).encode() not in path.read_bytes()
    expected = Classifier.load(trained("CoOp")).logits(pictures)
    assert torch.equal(Classifier.load(path).logits(pictures), expected)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    def run_program(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["inference.export", *map(str, arguments)])
        status = train.run_program(export.main)
        return status, *capsys.readouterr()

    return run_program


def test_the_command_writes_all_three_and_prints_the_figure(
    call, trained: Trained, tmp_path: Path
) -> None:
    pytest.importorskip("onnxscript")
    files = [tmp_path / name for name in ("a.onnx", "b.safetensors", "c.safetensors")]
    flags = [
        part
        for pair in zip(("--onnx", "--features", "--prompts"), files, strict=True)
        for part in pair
    ]
    status, out, _ = call(trained("PromptSRC"), *flags, "--classes", "zebra", "red fox")
    assert status == 0
    assert "labels equal on 8 of 8 pictures, logits within" in out
    assert json.loads((tmp_path / "a.json").read_text())["classes"] == ["zebra", "red fox"]
    assert Classifier.load(files[2]).classes == BASE
    # and takes the place of its own older files
    assert call(trained("PromptSRC"), *flags)[0] == 0
    assert json.loads((tmp_path / "a.json").read_text())["classes"] == BASE


def test_nothing_else_is_replaced(call, trained: Trained, tmp_path: Path) -> None:
    run = shutil.copytree(trained("IVLP"), tmp_path / "run")
    (own,) = run.glob("*/prompts.safetensors")
    shared, features = tmp_path / "mine.safetensors", tmp_path / "features.safetensors"
    export.write_prompts(run, shared)
    export.write_features(Classifier.load(run), features)
    graph = tmp_path / "theirs.onnx"
    graph.write_text("a graph")
    (tmp_path / "list.json").write_text("[]")
    contents = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    refused = {
        ("--features", shared): f"{shared} is there already and is no file of class features",
        ("--features", own): f"{own} is there already and is no file of class features",
        ("--prompts", own): f"{own} is there already and is no exported file of prompts",
        ("--prompts", features): f"{features} is there already and is no exported file of prompts",
        ("--onnx", run / "results.onnx"): f"{run / 'results.json'} is there already and is no desc",
        ("--onnx", tmp_path / "list.onnx"): f"{tmp_path / 'list.json'} is there already",
        ("--onnx", graph): f"{graph} is there already and is no exported graph",
    }
    for arguments, says in refused.items():
        status, out, error = call(run, *arguments)
        assert (status, out, error.count("\n")) == (2, "", 1), error
        assert says in error
        assert error.endswith("would be lost: give another name\n")
    found = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == contents


def test_a_mistake_is_a_line_and_status_2(
    call, trained: Trained, tmp_path: Path, monkeypatch
) -> None:
    run, onnx, given = trained("CoCoOp"), tmp_path / "out" / "a.onnx", tmp_path / "given"
    for folder in (onnx.parent, given):
        folder.mkdir()
    (given / "gap.txt").write_text("cat\n\ndog\n")
    (given / "nothing.txt").write_text("")
    (given / "twice.txt").write_text("cat\nCat\n")
    (checkpoint,) = trained("IVLP").glob("*/model.pth.tar-3")
    (given / "damaged.tar").write_bytes(checkpoint.read_bytes()[:-900])
    unfinished = shutil.copytree(trained("IVLP"), given / "unfinished")
    (next(unfinished.glob("*/checkpoint")).parent / "resume.pth").write_text("")
    features = onnx.with_name("a.safetensors")
    export.write_features(Classifier.load(trained("IVLP")), given / "features.safetensors")
    before = sorted(tmp_path.rglob("*"))
    mistakes = {
        (unfinished, "--features", features): "is not finished",
        (given / "damaged.tar", "--features", features): "damaged.tar",
        (given / "features.safetensors", "--prompts", features): "holds class features",
        (trained("IVLP"), "--features", onnx.parent): "ends in .safetensors",
        (trained("IVLP"), "--features", features, "--classes-file", given / "gap.txt"): "line 2 is",
        (trained("IVLP"), "--features", features, "--classes-file", given / "nothing.txt"): (
            "holds no class names"
        ),
        (trained("IVLP"), "--features", features, "--classes-file", given / "twice.txt"): (
            "'cat' and 'Cat' are one"
        ),
        (
            run,
            "--onnx",
            onnx,
        ): "CoCoOp cannot be exported as one graph: its class features are other",
        (run, "--features", features): "class features are other ones",
        (run,): "nothing is to be written",
        (run, "--onnx", tmp_path / "a.txt"): "ends in .onnx",
        (run, "--onnx", tmp_path / "no" / "a.onnx"): "there is no folder",
        ("nowhere", "--onnx", onnx): "there is no run nowhere",
        (run, "--onnx", onnx, "--sead"): "--help` lists the flags",
    }
    for arguments, says in mistakes.items():
        status, out, error = call(*arguments)
        assert (status, out) == (2, "")
        assert says in error
        assert len(error.splitlines()) == 1
        assert sorted(tmp_path.rglob("*")) == before
    # root may write anywhere, so that the system's answer is put in
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda path, mode: False)
        status, _, error = call(trained("IVLP"), "--features", features)
        assert (status, "no permission to write in" in error) == (2, True)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    status, _, error = call(trained("IVLP"), "--onnx", onnx)
    assert status == 2
    assert "onnxscript is not installed" in error
    assert "requirements-export.txt" in error
