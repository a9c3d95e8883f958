"""The report as people see it: the comparison, the page, its plots and their numbers, warnings."""

from __future__ import annotations

import re
import urllib.parse

import pytest

from protocols import report
from protocols.published.runs import table_runs
from protocols.reporting.blocks import make_blocks
from protocols.reporting.results import find_results
from protocols.reporting.summary import summarise
from protocols.reporting.untrained import BELOW, NO_FALL
from tests.protocols.results import CONFIG, write_run

ACCURACIES = {
    "ZeroshotCLIP": (60, 70),
    "CoOp": (80, 60),
    "PromptSRC": (78, 76),
    "PromptKD": (90, 90),
}


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    """Base-to-new results of methods that saw different things, on two datasets."""
    tmp_path = tmp_path_factory.mktemp("output")
    for run in table_runs("base2new", ACCURACIES, ["dtd", "eurosat"]):
        base, new = ACCURACIES[run.method]
        accuracy = (new if "test_new" in run.folder else base) + run.seed - 1
        write_run(tmp_path, run, accuracy, losses=(2.0, 1.0) if run.trains else ())
    return tmp_path


@pytest.fixture(scope="module")
def drawn(output):
    """The page, and the folder of the plots."""
    page, plots = output / "report.html", output / "plots"
    arguments = ["all", str(output), "--format", "html", "--out", str(page)]
    assert report.main([*arguments, "--plots", str(plots)]) == 0
    return page.read_text(), plots


def printed(capsys, *arguments):
    assert report.main(list(map(str, arguments))) == 0
    return capsys.readouterr().out


def test_a_block_ranks_methods_that_saw_no_tested_images(output):
    statistics = summarise("base2new", find_results("base2new", output))
    average, *datasets = make_blocks("base2new", statistics)
    assert [average.title, *(block.title for block in datasets)] == ["average", "dtd", "eurosat"]
    assert [row.name for row in average.rows] == ["ZeroshotCLIP", "CoOp", "PromptSRC", "PromptKD"]
    best = {row.name: row.best for row in average.rows}
    assert best == {
        "ZeroshotCLIP": (False, False, False),
        "CoOp": (True, False, False),
        "PromptSRC": (False, True, True),
        "PromptKD": (False, False, False),
    }
    zero_shot, coop, *_ = average.rows
    assert zero_shot.differences == (None, None, None)
    assert coop.differences[:2] == pytest.approx((21, -9))


def test_the_comparison_as_text(output, capsys):
    text = printed(capsys, "base2new", output, "--brief", "--format", "markdown")
    row = next(line for line in text.splitlines() if line.startswith("| average   | PromptSRC  "))
    assert [cell.strip() for cell in row.split("|")][3:5] == ["79.00 ± 0.82", "**77.00 ± 0.82**"]
    assert (
        "PromptKD saw a larger teacher and unlabeled images of the new classes: not ranked" in text
    )
    assert "warning" not in text
    text = printed(capsys, "base2new", output, "--brief", "--format", "latex")
    assert r"\textbf{77.00 ± 0.82}" in text


def test_reports_say_what_was_set_for_single_datasets_or_chosen_on_test_images(output, capsys):
    for method in ("PromptKD", "PromptSRC"):
        text = printed(capsys, "base2new", output, "--methods", method)
        chosen = "as published, the epoch is kept that is best on the test images" in text
        assert chosen == (method == "PromptKD")
        assert ("KD_WEIGHT 200 for dtd is" in text) == (method == "PromptKD")


def test_settings_that_were_not_taken_are_not_said_to_be(tmp_path, capsys):
    own = {"TRAINER": {"PROMPTKD": {"KD_WEIGHT": 5.0, "SELECT_ON_TEST": False}}}
    for run in table_runs("base2new", ["PromptKD"], ["dtd"]):
        write_run(tmp_path, run, 50.0, config=own)
    text = printed(capsys, "base2new", tmp_path)
    assert "KD_WEIGHT 200 for dtd is" not in text
    assert "chosen" not in text
    assert "is best on the test images" not in text
    for key, values in {
        "KD_WEIGHT": "5.0 (published: 200.0)",
        "SELECT_ON_TEST": "False (published: True)",
    }.items():
        assert f"† PromptKD: TRAINER.PROMPTKD.{key} {values}" in text


def test_any_subset_stands_beside_the_published_figures(output, capsys):
    text = printed(capsys, "base2new", output, "--brief", "--methods", "PromptSRC", "CoOp")
    rows = [line for line in text.splitlines() if line.startswith("dtd")]
    assert [re.split(r"\s{2,}", row)[1] for row in rows] == [
        "CoOp",
        "CoOp, published",
        "PromptSRC",
        "PromptSRC, published",
    ]
    assert rows[3].split()[-3:] == ["83.37", "62.97", "71.75"]


@pytest.mark.parametrize(
    ("changed", "seeds", "says"),
    [
        ({}, [1, 2, 3], None),
        ({}, [1], "seeds 1 (published: 1, 2, 3)"),
        ({"MODEL": {"BACKBONE": {"NAME": "ViT-B/16"}}}, [1, 2, 3], None),
        (
            {"MODEL": {"BACKBONE": {"NAME": "RN50"}}},
            [1, 2, 3],
            "backbone RN50 (published: ViT-B/16)",
        ),
        ({"OPTIM": {"MAX_EPOCH": 50}}, [1, 2, 3], "50 epochs (published: 20)"),
        ({"DATASET": {"NUM_SHOTS": 4}}, [1, 2, 3], "4 shots (published: 16)"),
        ({"OPTIM": {"LR": 0.0025, "WARMUP_CONS_LR": 1e-05}}, [1, 2, 3], None),
        ({"OPTIM": {"LR": 0.01}}, [1, 2, 3], "OPTIM.LR 0.01 (published: 0.0025)"),
        (
            {"TRAINER": {"PROMPTSRC": {"TEXT_LOSS_WEIGHT": 1, "PREC": "fp32"}}},
            [1, 2, 3],
            "TRAINER.PROMPTSRC.TEXT_LOSS_WEIGHT 1 (published: 25.0)",
        ),
        (
            {"TEST": {"FINAL_MODEL": "best_val"}},
            [1, 2, 3],
            "TEST.FINAL_MODEL best_val (published: last_step)",
        ),
    ],
)
def test_what_differs_from_the_published_setting_is_marked(tmp_path, capsys, changed, seeds, says):
    for run in table_runs("base2new", ["PromptSRC"], ["dtd"], seeds):
        write_run(tmp_path, run, 80.0, config={**CONFIG, **changed})
    for run in table_runs("base2new", ["PromptSRC"], ["eurosat"], [1, 2, 3]):
        write_run(tmp_path, run, 80.0)
    text = printed(capsys, "base2new", tmp_path, "--brief", "--partial")
    published = {line.split()[0]: line for line in text.splitlines() if "published " in line}
    assert ("83.37†" in published["dtd"]) == bool(says)
    assert "†" not in published["eurosat"]
    assert [line for line in text.splitlines() if line.startswith("†")] == (
        [f"† PromptSRC on dtd: {says}"] if says else []
    )


def test_another_configuration_is_marked(tmp_path, capsys):
    for run in table_runs("base2new", ["PromptSRC"], ["dtd"], config="builtin"):
        write_run(tmp_path, run, 80.0)
    text = printed(capsys, "base2new", tmp_path, "--brief")
    assert "83.37†" in text
    assert "† PromptSRC: configuration builtin" in text


def test_runs_that_did_not_train_are_warned_of(tmp_path, capsys):
    for run in table_runs("base2new", ["ZeroshotCLIP", "CoOp", "IVLP"], ["dtd"], [1, 2]):
        accuracy = 40.0 if run.method == "CoOp" and run.seed == 2 else 50.0
        losses = (1.0, 1.1) if run.method == "IVLP" else (1.0, 0.5)
        write_run(tmp_path, run, accuracy, losses=losses if run.trains else ())
    text = printed(capsys, "base2new", tmp_path, "--brief", "--seeds", "1", "2")
    assert [line for line in text.splitlines() if line.startswith("warning")] == [
        f"warning: CoOp on dtd, seed 2: {BELOW}",
        f"warning: IVLP on dtd, seeds 1, 2: {NO_FALL}",
    ]


def test_the_page_opens_with_plots_and_folds_what_is_long(drawn):
    text, _ = drawn
    for fetched in ("src=", "<link", "@import", "<script"):
        assert fetched not in text
    assert text.index("<svg") < text.index("<table")
    targets = re.findall(r'<a href="#([^"]+)"', text)
    assert len(targets) >= 6
    assert all(text.count(f'id="{target}"') == 1 for target in targets)
    opened = re.sub(r"<details.*?</details>", "", text, flags=re.DOTALL)
    folded = "".join(re.findall(r"<details.*?</details>", text, flags=re.DOTALL))
    assert "<h4>dtd</h4>" in opened
    assert '<b>77.00</b> <small class="up">+7.0</small>' in opened
    assert '<small class="down">-9.0</small>' in opened
    assert "77.00 ± 0.82" in folded
    assert "PromptSRC, dtd, base" in folded
    assert 'id="plot-base2new-training-CoOp-published-16shots"' in folded


def test_the_same_results_give_the_same_page(output, drawn, capsys):
    brief = printed(capsys, "base2new", output, "--format", "html", "--brief")
    before = drawn[0][drawn[0].index("<figure") : drawn[0].index("</figure>")]
    assert brief[brief.index("<figure") : brief.index("</figure>")] == before


def test_every_plot_has_the_csv_of_its_numbers_beside_it(drawn):
    text, plots = drawn
    names = {path.stem for path in plots.glob("*.png")}
    assert {"base2new-base-new", "base2new-base-new-datasets", "base2new-differences"} < names
    in_page = dict(re.findall(r'download="([^"]+).csv" href="data:text/csv,([^"]+)"', text))
    assert set(in_page) == names
    for name, numbers in in_page.items():
        assert (plots / f"{name}.csv").read_text() == urllib.parse.unquote(numbers)
    rows = (plots / "base2new-base-new.csv").read_text().splitlines()
    assert rows[:2] == ["dataset,method,base,new", "average,ZeroshotCLIP,60.0,70.0"]
    assert rows[4] == "average,PromptKD,91.0,91.0"


def test_a_report_is_made_again_from_its_csv(output, capsys):
    csv = output / "report.csv"
    brief = ("--brief", "--methods", "CoOp", "ZeroshotCLIP")
    assert report.main(["all", str(output), "--format", "csv", "--out", str(csv)]) == 0
    again, before = (printed(capsys, "base2new", each, *brief) for each in (csv, output))
    values = r"\d+\.\d\d"
    assert re.findall(values, again) == re.findall(values, before)
    assert f"† CoOp: settings not known, since {csv} does not tell them" in again
    first = output / "first"
    for run in table_runs("base2new", ["CoOp"], ["dtd"], [1]):
        write_run(first, run, 33.0)
    text = printed(capsys, "base2new", first, csv, "--seeds", "1", *brief)
    rows = [line.split() for line in text.splitlines() if line.startswith("dtd")]
    assert [row[1:4] for row in rows if "published" not in row] == [
        ["ZeroshotCLIP", "60.00", "70.00"],
        ["CoOp", "33.00", "33.00"],
    ]


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "protocol,metric,method\nbase2new,base,CoOp\n"])
def test_a_csv_that_is_no_report_is_refused(text, tmp_path, capsys):
    path = tmp_path / "other.csv"
    path.write_text(text)
    assert report.main(["base2new", str(path)]) == 2
    said = capsys.readouterr().err
    assert str(path) in said or "no finished runs" in said


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("base2new,CoOp", "base3new,CoOp", "there is no protocol 'base3new'"),
        ("base2new,CoOp", "base2new,CoCp", "there is no method 'CoCp'"),
        (",16,base,", ",16,bass,", "there is no metric 'bass'"),
        (",dtd,16,new", ",dtb,16,new", "dtb"),
        (",dtd,16,new", ",dtd,16,base", "it has two rows of base2new, CoOp, dtd, 16, base"),
        (",base,33.0,", ",base,34.0,", "34.0 is not the mean of the seeds of CoOp on dtd"),
        ("base2new", "base2\rnew", "is no CSV file"),
        (",33.0,\n", ",33.0,,5\n", "a row has not the 20 cells"),
        ("seed_1", "seed_-1", "seed_-1 is no column of it"),
        (",mean,", ",metric,", "metric is no column of it, or there twice"),
    ],
)
def test_a_csv_in_which_something_was_changed_is_refused(old, new, says, tmp_path, capsys):
    for run in table_runs("base2new", ["CoOp"], ["dtd"], [1]):
        write_run(tmp_path / "output", run, 33.0)
    path = tmp_path / "report.csv"
    given = ["base2new", str(tmp_path / "output"), "--seeds", "1", "--format", "csv"]
    assert report.main([*given, "--out", str(path)]) == 0
    assert old in path.read_text()
    path.write_text(path.read_text(), encoding="utf-8-sig")  # as Excel saves it
    assert report.main(["base2new", str(path), "--seeds", "1"]) == 0
    path.write_text(path.read_text().replace(old, new, 1), newline="")
    assert report.main(["base2new", str(path), "--seeds", "1"]) == 2
    assert says in capsys.readouterr().err
