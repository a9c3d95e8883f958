"""The benchmark of use: what it times does the work that it says, and its table says what it timed."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from benchmarks import measure, report, subject, use
from benchmarks.photographs import write_photographs
from tests.test_benchmarks import DEEP


@pytest.mark.slow
def test_every_row_beside_what_it_is_compared_with(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxscript")
    timed = []

    def interleaved(paths, device, repeats, clock):
        timed.append(set(paths))
        for path in paths.values():
            path()
        return dict(zip(paths, (3.0, 2.0), strict=True))

    monkeypatch.setattr(measure, "interleaved", interleaved)
    monkeypatch.setattr(use, "start", lambda picture, clock: 1.5)
    with subject.own_cache():
        found = use.rows(3, time.perf_counter, DEEP)
    assert timed == [{"files", "tensors"}, {"onnx", "torch"}] * 2
    assert [row[:2] + row[4:5] for row in found] == [
        ("JPEG files", "fp32", "ready tensors"),
        ("ONNX Runtime", "fp32", "PyTorch in fp32"),
        ("JPEG files", "bf16", "ready tensors"),
        ("ONNX Runtime", "fp32", "PyTorch in bf16"),
        ("start", "fp32", ""),
    ]
    assert all(row[3:] == (3.0, row[4], 2.0, 1.5) for row in found[:4])
    assert len(found[0]) == len(use.HEADERS)


def test_the_photographs_are_as_large_as_they_are_said_to_be(tmp_path: Path) -> None:
    paths = write_photographs(tmp_path, 2)
    assert [Image.open(path).size for path in paths] == [(500, 375)] * 2
    assert 20_000 < Path(paths[0]).stat().st_size < 200_000


@pytest.mark.parametrize("text", ["method,time\n", "[]", "{}"])
def test_a_file_that_holds_no_figures_is_named(text, tmp_path, monkeypatch, capsys):
    (tmp_path / "figures").write_text(text)
    monkeypatch.setattr(sys, "argv", ["report", str(tmp_path / "figures")])
    with pytest.raises(SystemExit) as stop:
        report.main()
    assert stop.value.code == 2
    assert f"{tmp_path / 'figures'} is no file of figures" in capsys.readouterr().err
