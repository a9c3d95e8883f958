"""The benchmarks of loading and of precision: their tables say what was measured."""

from __future__ import annotations

import pytest
import torch

from benchmarks import loading, measure, precision
from prompting import measured_precision
from tests import tiny_clip


def test_the_rates_of_loaders(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    asked = []

    def interleaved(paths, device, clock):
        for path in paths.values():
            path()
        asked.append((list(paths), clock))
        return {name: 1 / number for number, name in enumerate(paths, start=1)}

    monkeypatch.setattr(loading.measure, "interleaved", interleaved)
    loading.main(["--workers", "0", "1", "--images", "8"])
    head, _, *rows = capsys.readouterr().out.splitlines()
    names = [cell.strip() for cell in head.strip("|").split("|")]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert dict(zip(names, cells[0], strict=True)) == {
        "workers": "0",
        loading.DECODED: "8",
        loading.PIXELS_KEPT: "16",
        loading.TESTS: "24",
        loading.DECODING: "32",
        "times, kept": "2.00",
    }
    assert cells[1][:2] == ["1", "8"]
    assert cells[1][names.index(loading.DECODING)] == ""
    assert [len(paths) for paths, _ in asked] == [4, 3]


def test_pixels_are_kept_in_one_loader_alone(tmp_path, monkeypatch) -> None:
    built = []
    monkeypatch.setattr(
        loading,
        "build_data_loader",
        lambda cfg, sampler, *_, is_train, **__: built.append(
            (cfg.DATALOADER.KEPT_PIXELS, sampler, is_train)
        ),
    )
    monkeypatch.setattr(loading.measure, "interleaved", lambda *_, **__: {})
    loading.rates([], 2, clock=None)
    sampler = "RandomSampler"
    assert built == [(0, sampler, True), (2048, sampler, True), (0, "SequentialSampler", False)]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--images", "6"], "expected a multiple of 4"),
        (["--clock", "cpu", "--workers", "0", "2"], "give --workers 0"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments, says, capsys) -> None:
    with pytest.raises(SystemExit):
        loading.main(arguments)
    assert says in capsys.readouterr().err


def test_the_report_on_precision(monkeypatch) -> None:
    monkeypatch.setattr(precision, "measure", lambda *_: {"fp32": 2.0, "bf16": 1.25})
    first, second, last = precision.report(tiny_clip.SIZES["VIT"], torch.device("cpu")).splitlines()
    assert f"AMX: {measure.machine(torch.device('cpu'))['amx_bf16']}" in first
    assert f"torch {torch.__version__}" in first
    assert second.endswith("fp32 2.000 s, bf16 1.250 s")
    assert second.startswith(f"{measured_precision.BATCH} images")
    assert last == "PREC bf16"
