"""What is said of a run is counted right, and the page holds all of it, whatever classes are called."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import rc_context
from PIL import Image

import train
from inference import Classifier, charts, inspect, sections
from inference.calibration import HOTTEST, Reliability, best_temperature
from inference.evaluation import Evaluation
from inference.inspection import inspect_run
from inference.page import Section, Table, make_page
from prompting.errors import InputError
from tests.trainers.conftest import LEARNING, Trained

from .conftest import BASE

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Call:
    def run_program(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["inference.inspect", *map(str, arguments)])
        status = train.run_program(inspect.main)
        return status, *capsys.readouterr()

    return run_program


def evaluation(logits: list[list[float]], labels: list[int]) -> Evaluation:
    names = tuple(f"class {number}" for number in range(len(logits[0])))
    paths = tuple(f"{number}.jpg" for number in range(len(labels)))
    return Evaluation(names, paths, torch.tensor(labels), torch.tensor(logits))


def test_answers_are_counted_by_class() -> None:
    log = math.log
    found = evaluation(
        [[log(8), 0, log(1)], [log(3), log(1), log(1)], [0, log(2), 0], [0, 0, 5.0]], [0, 1, 1, 0]
    )
    assert found.confusion.tolist() == [[1, 0, 1], [1, 1, 0], [0, 0, 0]]
    np.testing.assert_allclose(found.by_class, [50, 50, np.nan])
    assert (found.accuracy, found.mean_by_class) == (50, 50)
    np.testing.assert_allclose(found.confidence[:3], [0.8, 0.6, 0.5])
    assert found.mistakes(5) == [3, 1]
    assert found.mistakes(1) == [3]


def test_the_calibration_error_is_the_weighed_gap_of_the_bins() -> None:
    confidence = np.array([0.5, 0.52, 0.9, 0.92, 0.94, 1.0])
    correct = np.array([True, False, True, True, False, True])
    found = Reliability.of(confidence, correct, bins=10)
    assert found.counts.tolist() == [0, 0, 0, 0, 1, 1, 0, 0, 1, 3]
    np.testing.assert_allclose(found.accuracy[[4, 5, 8, 9]], [1, 0, 1, 2 / 3])
    gaps = [0.5, 0.52, 0.1, 3 * abs(2 / 3 - (0.92 + 0.94 + 1) / 3)]
    assert found.error == pytest.approx(sum(gaps) / 6)
    assert Reliability.of(np.ones(4), np.ones(4, bool)).error == 0


def test_a_temperature_is_found_back() -> None:
    source = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(4000, 5, generator=source)
    labels = torch.multinomial(logits.softmax(1), 1, generator=source)[:, 0]
    for factor in (0.5, 1.0, 4.0):
        assert best_temperature(factor * logits, labels) == pytest.approx(factor, rel=0.06)
    assert best_temperature(logits, logits.argmax(1)) is None  # the sharper the better
    wrong = (logits.argmax(1) + 1) % 5
    assert best_temperature(HOTTEST * logits, wrong) is None  # the flatter the better


@pytest.mark.parametrize("method", LEARNING)
def test_the_answers_are_those_of_the_runs_own_test(method: str, trained: Trained) -> None:
    output = trained(method)
    found = inspect_run(output)
    results = json.loads((output / "results.json").read_text())
    assert found.test.accuracy == pytest.approx(results["metrics"]["accuracy"])
    assert list(found.test.names) == BASE
    assert found.epochs[-1]["epoch"] == 3
    state = torch.load(next(output.glob("*/model.pth.tar-3")), weights_only=True)["state_dict"]
    has_words = any(name.rpartition(".")[2] == "ctx" for name in state)
    assert (found.context is not None) == has_words
    assert found.before.paths == found.test.paths


def test_zero_shot_beside_it_is_clip_as_it_is(trained: Trained) -> None:
    found = inspect_run(trained("PromptSRC"))
    clip = Classifier.zero_shot(found.backbone, BASE, found.template)
    clip.preprocessing = Classifier.load(trained("PromptSRC")).preprocessing
    torch.testing.assert_close(clip.logits(found.before.paths), found.before.logits)
    assert not torch.allclose(found.before.logits, found.test.logits)


def texts(page: str) -> str:
    return re.sub(r"<svg.*?</svg>|<style.*?</style>", "", page, flags=re.DOTALL)


def test_the_page_holds_everything_and_nothing_is_fetched(
    call: Call, trained: Trained, tmp_path: Path
) -> None:
    output = shutil.copytree(trained("CoOp"), tmp_path / "run")
    before = set(output.iterdir())
    status, out, error = call(output)
    assert status == 0, error
    (made,) = set(output.iterdir()) - before
    figures = {"accuracy_by_class", "confusion_matrix", "mistakes", "reliability", "training"}
    assert {path.name for path in made.iterdir()} == {
        *(f"{name}.png" for name in figures),
        *("index.html", "classes.csv", "pictures.csv"),
    }
    page = (made / "index.html").read_text()
    assert page.count("<svg") == len(figures)
    # w3.org: what namespaces are called
    links = re.findall(r'(?:href|src|url)\s*[=(]\s*"?([^")\s>]+)', page)
    assert all(link.startswith(("#", "data:")) for link in links)
    found = inspect_run(output)
    assert f"{found.test.accuracy:.1f}%" in texts(page)
    assert str(made / "index.html") in out
    rows = list(csv.DictReader((made / "pictures.csv").open()))
    assert [row["path"] for row in rows] == list(found.test.paths)
    assert [row["predicted"] for row in rows] == [BASE[label] for label in found.test.predicted]
    rows = list(csv.DictReader((made / "classes.csv").open()))
    assert [row["class"] for row in rows] == BASE
    assert [float(row["trained (%)"]) for row in rows] == pytest.approx(
        found.test.by_class, abs=0.1
    )
    assert "there are no validation pictures of their own" not in page


def test_what_is_left_out_is_said(call: Call, trained: Trained, data: Path, tmp_path: Path) -> None:
    """A file alone has no curves; a method that learns no words has none to show; no validation."""
    (file,) = trained("MultiModalAdapter").glob("*/prompts.safetensors")
    alone = shutil.copy(file, tmp_path / "alone.safetensors")
    status, _, error = call(alone)
    assert (status, "say with --output DIR" in error) == (2, True)
    moved = shutil.copytree(data, tmp_path / "data")
    split = moved / "caltech-101" / "split_zhou_Caltech101.json"
    parts = json.loads(split.read_text())
    split.write_text(json.dumps({**parts, "val": []}))
    output = tmp_path / "page"
    status, _, error = call(alone, "--output", output, "--root", moved)
    assert status == 0, error
    page = (output / "index.html").read_text()
    assert "MultiModalAdapter learns no vectors in the place of words" in page
    assert "There are no curves" in page
    assert "there are no validation pictures of their own" in page
    assert not (output / "training.png").exists()


def test_other_data_can_be_looked_at(trained: Trained) -> None:
    found = inspect_run(trained("IVLP"), options=["DATASET.SUBSAMPLE_CLASSES", "new"])
    assert len(found.test.names) == 3
    assert not set(found.test.names) & set(BASE)
    with pytest.raises(InputError, match=r"OPTIM\.LR is no key of the data"):
        inspect_run(trained("IVLP"), options=["OPTIM.LR", "1"])


def test_class_names_are_shown_and_do_no_harm(tmp_path: Path) -> None:
    """Markup, mathematics, other scripts, line breaks, bytes that are no text, and a long name."""
    names = ("<script>x</script>", "$\\frac{$ & co", "\u732b", "a\nb\udcff", "name " * 40)
    paths = []
    for number in range(6):
        paths.append(str(tmp_path / f"{number}.png"))
        Image.new("RGB", (20 + number, 30)).save(paths[-1])
    logits = torch.randn(6, 5, generator=torch.Generator().manual_seed(1))
    found = Evaluation(names, tuple(paths), torch.tensor([0, 1, 2, 3, 4, 0]), logits)
    with rc_context(charts.STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        drawn = (
            charts.accuracy_by_class(found, found),
            charts.confusion_matrix(found),
            charts.contact_sheet(found, found.mistakes(6)),
        )
        parts = [Section(f"s{i}", figure=(f"f{i}", each)) for i, each in enumerate(drawn)]
        table = Table(names, [names])
        page = make_page(
            names[0],
            names[1],
            [(names[2], names[3])],
            [*parts, Section("t", tables=[table])],
            "",
        )
    assert "<script>" not in page
    assert "\u732b" in page
    assert len(charts.short(names[4])) == charts.LONGEST_NAME
    assert "\n" not in charts.short(names[3])


def test_very_many_classes_are_drawn_in_little_space() -> None:
    count = 300
    found = evaluation(torch.eye(count).tolist(), list(range(count)))
    with rc_context(charts.STYLE):
        figure = charts.accuracy_by_class(found, None)
        assert len(figure.axes[0].get_yticks()) == charts.NAMED
        matrix = charts.confusion_matrix(found)
        assert max(matrix.get_size_inches()) < 14
        assert not matrix.axes[0].texts


def test_a_mistake_is_a_line_and_status_2(
    call: Call, trained: Trained, data: Path, tmp_path: Path, monkeypatch
) -> None:
    output = shutil.copytree(trained("IVLP"), tmp_path / "run")
    (tmp_path / "file").write_text("")
    unfinished = shutil.copytree(output, tmp_path / "unfinished")
    (next(unfinished.glob("*/checkpoint")).parent / "resume.pth").write_text("")
    damaged = shutil.copytree(output, tmp_path / "damaged")
    (damaged / "curves.json").write_text('{"epochs": [1]}')
    other = shutil.copytree(output, tmp_path / "other")
    record = json.loads((other / "run.json").read_text())
    record["pictures"]["test"]["ant"] = [7, "0"]
    (other / "run.json").write_text(json.dumps(record))
    file = shutil.copy(next(output.glob("*/prompts.safetensors")), tmp_path / "alone.safetensors")
    (tmp_path / "damaged.safetensors").write_bytes(file.read_bytes()[:-9])
    roots = {}
    for name in ("wide", "broken", "untested"):
        roots[name] = shutil.copytree(data, tmp_path / name)
    pictures = "caltech-101/101_ObjectCategories/ant/image_0007.jpg"
    Image.new("RGB", (40_000, 1)).save(roots["wide"] / pictures)
    (roots["broken"] / pictures).write_text("no picture")
    split = roots["untested"] / "caltech-101/split_zhou_Caltech101.json"
    split.write_text(json.dumps({**json.loads(split.read_text()), "test": []}))
    page = ("--output", tmp_path / "page")
    before = sorted(tmp_path.rglob("*"))
    mistakes = {
        (tmp_path / "damaged.safetensors", *page): "cannot be read as prompts",
        (file, *page, "--root", roots["wide"]): "image_0007.jpg cannot be read: it has 40000 x 1",
        (file, *page, "--root", roots["broken"]): "image_0007.jpg cannot be read: it is damaged",
        (file, *page, "--root", roots["untested"]): "there are no test images",
        ("nowhere",): "there is no run nowhere",
        (tmp_path,): "is not the folder of a run",
        (unfinished,): "is not finished",
        (damaged,): "curves.json is empty or damaged",
        (other,): "is of other pictures: test: 'ant' (7 then, 3 now)",
        (output, "--root", tmp_path / "none"): "none does not exist",
        (output, "--output", tmp_path / "file"): "is no folder",
        (output, "--output", tmp_path / "no" / "page"): "there is no folder",
        (output, "--device", "tpu"): "expected cpu or cuda",
        (output, "--sead"): "--help` lists the flags",
        (output, "DATASET.SUBSAMPLE_CLASSES", "some"): "expected one of all, base, new",
        (output, "DATASET.SUBSAMPLE_CLASSES"): "DATASET.SUBSAMPLE_CLASSES",
    }
    for arguments, says in mistakes.items():
        status, printed, error = call(*arguments)
        assert (status, printed) == (2, ""), (arguments, error)
        assert says in error, (arguments, error)
        assert "Traceback" not in error
        assert sorted(tmp_path.rglob("*")) == before, arguments
    # root may write anywhere, so that the system's answer is put in
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    status, _, error = call(output)
    assert (status, "no permission to write in" in error) == (2, True)


def test_a_full_disk_leaves_no_folder(trained: Trained, tmp_path: Path, monkeypatch) -> None:
    found = inspect_run(trained("IVLP"))

    def full(path: Path, content: object) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    monkeypatch.setattr(inspect, "all_sections", lambda found: [sections.confusion(found.test)])
    with pytest.raises(InputError, match="the disk or its quota is full"):
        inspect.write_page(found, tmp_path / "page")
    assert not list(tmp_path.iterdir())
