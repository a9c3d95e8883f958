"""All methods side by side: accuracy and cost, and which of them no other beats in both."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from safetensors.numpy import save_file

from protocols import compare
from protocols.published.runs import table_runs
from protocols.reporting.costs import Cost
from protocols.reporting.pareto import accuracy_against_cost, front
from tests.protocols.results import write_run

# accuracy on both halves, and numbers learned
METHODS = {"ZeroshotCLIP": (60, 0), "CoOp": (70, 32), "KgCoOp": (65, 64), "IVLP": (75, 640)}
METHODS |= {"PromptKD": (90, 8)}
COSTS = ("learned numbers", "step (s)", "memory (MB)")
BENCHMARKS = """method,precision,clock,threads,device,learned_parameters,\
step_seconds_50_equal_batch,peak_memory_50_equal_batch
CoOp,fp32,cpu,1,EPYC,2048,1.5,1200000000
IVLP,fp32,cpu,1,EPYC,,2.5,
"""


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    folder = tmp_path_factory.mktemp("output")
    for run in table_runs("base2new", METHODS, ["builtin_flowers"], config="builtin"):
        accuracy, learned = METHODS[run.method]
        where = write_run(folder, run, accuracy)
        if run.trains:
            (where / "prompt_learner").mkdir()
            tensors = {"ctx": np.zeros((learned // 8, 8)), "probe/logits": np.zeros(100)}
            save_file(tensors, where / "prompt_learner/prompts.safetensors")
    (folder / "benchmarks.csv").write_text(BENCHMARKS)
    return folder


def test_the_front_holds_whom_nobody_beats_in_both():
    points = {"a": (1, 5), "b": (2, 4), "c": (3, 9), "d": (3, 8), "e": (9, 9), "f": (1, 3)}
    assert front(points) == ["a", "c"]


def test_the_table_has_a_dash_for_what_nobody_measured(output, capsys):
    words = [str(output), "--config", "builtin", "--benchmarks", str(output / "benchmarks.csv")]
    assert compare.main(words) == 0
    lines = [re.split(r"\s{2,}", line.strip()) for line in capsys.readouterr().out.splitlines()]
    (headers,) = (line for line in lines if line[0] == "method")
    rows = {
        line[0]: dict(zip(headers[1:], line[1:], strict=True)) for line in lines if len(line) > 5
    }
    assert rows["CoOp"]["H"] == "70.00 ± 0.00"
    assert rows["CoOp"]["published H"] == "71.66"
    costs = ("learned numbers", *(f"ViT-B/16 {cost}" for cost in COSTS))
    assert [rows["CoOp"][cost] for cost in costs] == ["32", "2,048", "1.50", "1,200"]
    assert [rows["IVLP"][cost] for cost in costs] == ["640", "-", "2.50", "-"]
    assert [rows["ZeroshotCLIP"][cost] for cost in costs] == ["-"] * 4
    assert any(
        "50 classes, one batch for all; fp32, cpu clock, 1 threads, EPYC" in line[0]
        for line in lines
    )
    assert list(rows)[-1] == "PromptKD"
    assert any("PromptKD saw" in line[0] and "not ranked" in line[0] for line in lines)


def test_what_is_missing_of_an_average_is_named(tmp_path, capsys):
    for run in table_runs("base2new", ["CoOp", "IVLP"], ["builtin_flowers"], config="builtin"):
        if run.method == "CoOp" or ("train_base" in run.folder and run.seed > 1):
            write_run(tmp_path, run, 50.0)
    assert compare.main([str(tmp_path), "--methods", "CoOp", "IVLP", "KgCoOp"]) == 0
    notes = capsys.readouterr().out.splitlines()
    assert "no result of KgCoOp" in notes
    flowers = "builtin_flowers"
    assert f"no result of IVLP on {flowers}, seed 1; {flowers} (new), seeds 2, 3" in notes


def test_a_method_without_an_average_is_named(tmp_path, capsys):
    for run in table_runs("base2new", ["CoOp"], ["dtd", "eurosat"], [1]):
        write_run(tmp_path, run, 50.0)
    assert compare.main([str(tmp_path)]) == 0
    assert "no average of CoOp, since results are missing" in capsys.readouterr().out


def test_the_page_draws_the_front_of_methods_in_one_ranking(output, tmp_path):
    page = tmp_path / "methods.html"
    words = [str(output), "--config", "builtin", "--out", str(page)]
    assert compare.main([*words, "--plots", str(tmp_path)]) == 0
    text = page.read_text()
    assert text.index("<svg") < text.index("<table")
    assert "<b>75.00 ± 0.00</b>" in text
    assert "<b>90" not in text
    assert (tmp_path / "methods-learned.png").stat().st_size > 1000
    rows = (tmp_path / "methods-learned.csv").read_text().splitlines()
    assert rows[0] == "method,cost,H,on_the_front"
    assert {row.split(",")[0]: row.split(",")[3] for row in rows[1:]} == {
        "CoOp": "True",
        "KgCoOp": "False",
        "IVLP": "True",
        "PromptKD": "False",
    }


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--benchmarks", "nowhere.csv"], "nowhere.csv is no CSV file"),
        (["--methods", "CoOpp"], "'CoOp'"),
        (["--datasets", "dtd"], "no finished runs"),
        (["--seeds", "1", "1"], "twice"),
        (["--out", "methods.csv"], "no csv here; name a file of text, markdown, html"),
    ],
)
def test_what_is_not_there_is_named(output, words, says, capsys):
    assert compare.main([str(output), *words]) == 2
    assert says in capsys.readouterr().err


def test_names_beside_near_points_do_not_overlap():
    at = {"CoOp": 70.0, "KgCoOp": 70.1, "ProGrad": 70.05, "IVLP": 75.0}
    cost = Cost("step", "step (s)", dict(zip(at, (2.0, 2.0, 2.1, 9.0), strict=True)))
    figure = accuracy_against_cost(cost, at, []).figure
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) == 4
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
