"""Averages, published figures, and results that contradict themselves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from parse_test_res import main as parse_test_res
from protocols import compare, report
from protocols.published import methods, settings
from protocols.published.figures import published
from protocols.published.runs import table_runs
from protocols.reporting.curves import training_plots
from protocols.reporting.results import ReportError, Result, find_results
from protocols.reporting.statistic import AVERAGE
from protocols.reporting.summary import Selection, summarise
from tests.protocols.results import write_run

# printed averages that their own columns do not give, by how much at most
MISPRINTED = {"CoOp (DePT settings)": 0.23, "MultiModalAdapter": 0.14}
CONFIG_NAME = methods.find("PromptSRC").setting("base2new", "dtd").config

AVERAGING = {"PROMPTSRC": {"GPA_MEAN": 15, "GPA_STD": 1}}


def paper_results(protocol, method):
    """The published per-dataset figures, as if they were results of one seed."""
    names = {registered: name for name, registered in settings.dataset_names().items()}
    for (setting, who, dataset, shots, metric), figure in published().items():
        if (
            (setting, who) == (protocol, method)
            and dataset != AVERAGE
            and metric != "harmonic_mean"
        ):
            classes = "all" if metric == "accuracy" else metric
            name = names[dataset]
            yield Result(method, "", name, shots, classes, 1, figure.value, Path(name), {})


@pytest.mark.parametrize(
    ("protocol", "method"),
    sorted(
        {
            (setting, method)
            for setting, method, dataset, *_ in published()
            if setting in ("base2new", "cross_dataset", "domain_generalization")
            and dataset == AVERAGE
            and method != "ProGrad"  # an average alone
        }
    ),
)
def test_averages_of_the_published_figures_are_the_published_averages(protocol, method):
    figures = summarise(protocol, list(paper_results(protocol, method)), Selection(seeds=(1,)))
    averages = [figure for figure in figures if figure.dataset == AVERAGE]
    assert len(averages) == (3 if protocol == "base2new" else 1)
    for figure in averages:
        assert figure.published is not None
        # both sides are rounded
        assert figure.difference == pytest.approx(0, abs=MISPRINTED.get(method, 0.016))


def write(output, seed, base=80.0, new=70.0, dataset="dtd", config=None, said=None, suffix=""):
    """Folders of a base-to-new run, with logs as printed."""
    for part, classes, accuracy in (("train_base", "base", base), ("test_new", "new", new)):
        where = f"base2new/{part}/{dataset}/shots_16/PromptSRC/{CONFIG_NAME}{suffix}/seed{seed}"
        folder = output / where
        folder.mkdir(parents=True)
        content = {
            "trainer": "PromptSRC",
            "dataset": settings.dataset_names()[dataset],
            "classes": classes,
            "split": "test",
            "seed": seed,
            "metrics": {"accuracy": accuracy},
            "config": {"SEED": seed, "OPTIM": {"MAX_EPOCH": 20}, "TRAINER": AVERAGING}
            | (config or {}),
            **(said or {}),
        }
        (folder / "results.json").write_text(json.dumps(content))
        (folder / "log.txt").write_text(
            f"Finish training\n=> result\n* accuracy: {accuracy:.1f}%\n"
        )
    return output / f"base2new/train_base/{dataset}/shots_16/PromptSRC/{CONFIG_NAME}"


def test_harmonic_mean_is_of_the_means_and_differences_are_to_the_paper(tmp_path):
    for seed, base, new in ((1, 80.0, 60.0), (2, 84.0, 66.0), (3, 82.0, 57.0)):
        write(tmp_path, seed, base, new)
    figures = {
        (f.dataset, f.metric): f for f in summarise("base2new", find_results("base2new", tmp_path))
    }
    assert figures["dtd", "harmonic_mean"].mean == pytest.approx(2 * 82 * 61 / 143)
    assert figures["dtd", "base"].deviation == pytest.approx((8 / 3) ** 0.5)
    assert figures["dtd", "base"].difference == pytest.approx(82 - 83.37)
    assert figures[AVERAGE, "base"].published is None  # one dataset is not the paper's eleven


def test_the_report_and_the_log_parser_agree(tmp_path, capsys):
    for seed, base in ((1, 80.26), (2, 84.13), (3, 82.07)):
        folder = write(tmp_path, seed, base)
    assert parse_test_res([str(folder)]) == 0
    printed = float(capsys.readouterr().out.rpartition("* accuracy: ")[2].partition("%")[0])
    figures = summarise("base2new", find_results("base2new", tmp_path))
    base = next(f for f in figures if f.metric == "base")
    assert printed == pytest.approx(base.mean, abs=0.05)


def test_the_ablation_has_the_papers_rows_in_their_order(tmp_path, capsys):
    accuracies = {"": 82.0, "__agreement": 80.0, "__averaging": 81.0}
    for suffix, base in accuracies.items():
        write(tmp_path, 1, base, suffix=suffix)
    assert report.main(["ablation", str(tmp_path), "--brief", "--seeds", "1"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("dtd")]
    assert [line.split()[-3] for line in lines] == ["80.00", "81.00", "82.00"]
    assert ["agreement" in lines[0], "GPA" in lines[1], "diversity" in lines[2]] == [True] * 3
    (whole,) = {
        figure.series for figure in summarise("base2new", find_results("base2new", tmp_path))
    }
    assert whole == ("PromptSRC", "")


def test_missing_seeds_are_named_and_refused_in_averages(tmp_path, capsys):
    write(tmp_path, 1)
    write(tmp_path, 3)
    write(tmp_path, 1, dataset="eurosat")
    assert report.main(["base2new", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "dtd: no result of seed 2" in out
    assert "no average of PromptSRC, since results are missing (--partial" in out
    assert report.main(["base2new", str(tmp_path), "--partial", "--brief"]) == 0
    average = next(
        line for line in capsys.readouterr().out.splitlines() if line.startswith("average")
    )
    assert "80.00" in average


@pytest.mark.parametrize("more", [[], ["--brief"]])
def test_what_was_asked_for_and_is_not_there_is_named_under_the_table(tmp_path, more, capsys):
    write(tmp_path, 1)
    write(tmp_path, 2)
    write(tmp_path, 2, dataset="eurosat")
    write(tmp_path, 1, dataset="eurosat")
    shutil.rmtree(tmp_path / f"base2new/test_new/eurosat/shots_16/PromptSRC/{CONFIG_NAME}/seed2")
    asked = ["--methods", "PromptSRC", "CoOp", "--datasets", "dtd", "eurosat", "food101"]
    words = ["base2new", str(tmp_path), *asked, "--seeds", "1", "2", "7", *more]
    assert report.main(words) == 0
    notes = capsys.readouterr().out.splitlines()
    for note in ("of CoOp", "on food101", "of seed 7", "of PromptSRC on eurosat (new), seed 2"):
        assert f"no result {note}" in notes
    assert report.main([*words, "--format", "html"]) == 0
    assert "no result of CoOp<br>" in capsys.readouterr().out


def test_an_unfinished_run_is_missing(tmp_path):
    folder = write(tmp_path, 1)
    (folder / "seed1/VLPromptLearner").mkdir()
    (folder / "seed1/VLPromptLearner/resume.pth").touch()
    assert [r.classes for r in find_results("base2new", tmp_path)] == ["new"]


def _unreadable(output):
    (write(output, 1) / "seed1/results.json").write_text("{")


def _other_seed(output):
    write(output, 1, said={"seed": 2})


def _other_dataset(output):
    write(output, 1, said={"dataset": "EuroSAT"})


def _two_runs(output):
    folder = write(output, 1) / "seed1"
    (folder / "config.yaml").write_text(
        yaml.safe_dump({"SEED": 1, "OPTIM": {"MAX_EPOCH": 50}, "TRAINER": AVERAGING})
    )


def _seed_twice(output):
    folder = write(output, 1)
    (folder / "seed01").mkdir()
    (folder / "seed01/results.json").write_text((folder / "seed1/results.json").read_text())


def _mixed_seeds(output):
    write(output, 1)
    write(output, 2, config={"OPTIM": {"MAX_EPOCH": 50}})


def _nothing(output):
    pass


def _accuracy(text):
    """A damage: an accuracy as it would stand in the file."""

    def damage(output):
        path = write(output, 1) / "seed1/results.json"
        path.write_text(path.read_text().replace('"accuracy": 80.0', f'"accuracy": {text}'))

    return damage


def _config(text):
    def damage(output):
        (write(output, 1) / "seed1/config.yaml").write_text(text)

    return damage


def _no_configuration(output):
    write(output, 1, said={"config": [1]})


def _no_metrics(output):
    write(output, 1, said={"metrics": None})


def _manifest(part, checkpoint, epochs=0):
    """A damage: what a run says that it has tested."""

    def damage(output):
        folder = str(write(output, 1)).replace("train_base", part)
        manifest = {"checkpoint": checkpoint, "training": {"epochs": epochs}}
        (Path(folder) / "seed1/manifest.json").write_text(json.dumps(manifest))

    return damage


def _tested(path):
    return {"path": f"/runs/{path}/VLPromptLearner/model.pth.tar-20", "sha256": "0"}


@pytest.mark.parametrize(
    "whole",
    [
        _manifest("train_base", None, epochs=20),
        _manifest("test_new", _tested("base2new/seed1")),
        _manifest("test_new", _tested("my own weights")),
    ],
)
def test_results_of_the_prompts_that_their_folder_is_named_for_count(tmp_path, whole):
    whole(tmp_path)
    assert len(find_results("base2new", tmp_path)) == 2


def test_zero_shot_clip_has_no_prompts_to_load(tmp_path):
    for run in table_runs("base2new", ["ZeroshotCLIP"], ["dtd"]):
        folder = write_run(tmp_path, run, 50.0)
        (folder / "manifest.json").write_text(json.dumps({"checkpoint": None}))
    assert len(find_results("base2new", tmp_path)) == 2


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (_unreadable, "cannot be read"),
        (_other_seed, "seed 2"),
        (_other_dataset, "'EuroSAT'"),
        (_two_runs, "OPTIM.MAX_EPOCH was 50 and is 20"),
        (_seed_twice, "seed 1 is there twice"),
        (_mixed_seeds, "OPTIM.MAX_EPOCH was 20 and is 50"),
        (_nothing, "no finished runs"),
        (_accuracy("500"), r"accuracy of 500: expected 0 to 100"),
        (_accuracy("NaN"), "accuracy of nan"),
        (_accuracy("Infinity"), "accuracy of inf"),
        (_accuracy("-1"), "accuracy of -1"),
        (_accuracy("true"), "accuracy of True"),
        (_accuracy('"80"'), "accuracy of '80'"),
        (_accuracy("null"), "holds no accuracy"),
        (_no_metrics, "holds no accuracy"),
        (_no_configuration, "no configuration but"),
        (_manifest("test_new", None), "seed1 holds a test of untrained prompts"),
        (_manifest("train_base", None), "seed1 holds a test of untrained prompts"),
        (_manifest("test_new", _tested("base2new/seed2")), "another seed, /runs/base2new/seed2/"),
        (_config(""), "config.yaml holds no mapping"),
        (_config("a: [1"), "config.yaml cannot be read"),
        (_config("\x00"), "config.yaml cannot be read"),
    ],
)
def test_results_that_contradict_themselves_are_refused(tmp_path, damage, says, capsys):
    damage(tmp_path)
    assert report.main(["base2new", str(tmp_path)]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["base2nev"], "'base2new'"),
        (["base2new", "--methods", "PromtSRC"], "'PromptSRC'"),
        (["base2new", "--datasets", "dtf"], "'dtd'"),
        (["base2new", "--seeds", "1", "1"], "twice"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(tmp_path, arguments, says, capsys):
    protocol, *rest = arguments
    assert report.main([protocol, str(tmp_path), *rest]) == 2
    assert says in capsys.readouterr().err


def test_a_folder_that_is_not_there():
    with pytest.raises(ReportError, match="no folder"):
        find_results("base2new", Path("nowhere"))


def test_formats(tmp_path, capsys):
    for seed in (1, 2, 3):
        write(tmp_path, seed, 80.0 + seed / 3)

    def text(style):
        assert report.main(["base2new", str(tmp_path), "--format", style]) == 0
        return capsys.readouterr().out

    records = json.loads(text("json"))
    base = next(r for r in records if r["metric"] == "base" and r["dataset"] == "dtd")
    assert base["seeds"] == {"1": 80 + 1 / 3, "2": 80 + 2 / 3, "3": 81.0}
    assert base["published_confidence"] == "read"
    header, first, *_ = text("csv").splitlines()
    assert dict(zip(header.split(","), first.split(","), strict=True))["seed_3"] == "81.0"
    assert "| dtd" in text("markdown")
    assert r"\midrule" in text("latex")
    assert "83.37" in text("text")


@pytest.mark.parametrize(
    ("name", "holds"),
    [("r.csv", "protocol,"), ("m.html", "<!doctype"), ("r.md", "### "), ("r.tex", "% ")],
)
def test_the_name_of_the_file_says_the_format(tmp_path, name, holds, capsys):
    write(tmp_path, 1)
    words = ["base2new", str(tmp_path), "--brief", "--out", str(tmp_path / name)]
    assert report.main(words) == 0
    assert (tmp_path / name).read_text().startswith(holds)
    assert report.main([*words, "--format", "json"]) == 0
    assert json.loads((tmp_path / name).read_text())


def test_a_report_does_not_replace_what_it_reads(tmp_path, capsys):
    write(tmp_path, 1)
    table = tmp_path / "r.csv"
    assert report.main(["base2new", str(tmp_path), "--out", str(table)]) == 0
    before = table.read_text()
    words = ["base2new", str(table), str(tmp_path), "--format", "text", "--out", str(table)]
    assert report.main(words) == 2
    assert "r.csv would replace what is read" in capsys.readouterr().err
    assert table.read_text() == before


@pytest.mark.parametrize("given", [["--plots", "file"], ["--out", "file/x"], ["--out", "."]])
@pytest.mark.parametrize("command", [["compare"], ["report", "base2new"]], ids=lambda c: c[0])
def test_where_nothing_can_be_written_is_said(tmp_path, command, given, capsys):
    write(tmp_path / "output", 1)
    (tmp_path / "file").touch()
    name, *words = command
    main = {"compare": compare.main, "report": report.main}[name]
    assert main([*words, str(tmp_path / "output"), given[0], str(tmp_path / given[1])]) == 2
    assert f"{tmp_path / given[1]} cannot be written" in capsys.readouterr().err


def test_training_curves_have_a_figure_a_series_and_a_row_a_dataset(tmp_path):
    epochs = [{"epoch": e, "steps": 2, "seconds": 1.0, "loss": 1 / e} for e in (1, 2)]
    tests = [
        {"epoch": e, "prompts": "current", "classes": "base", "accuracy": 60.0} for e in (1, 2)
    ]
    for dataset, tested in (("dtd", tests), ("eurosat", [])):
        for seed in (1, 2):
            folder = write(tmp_path, seed, dataset=dataset) / f"seed{seed}"
            curves = {"epochs": epochs, "tests": tested}
            (folder / "curves.json").write_text(json.dumps(curves))
    plot, weights = training_plots(find_results("base2new", tmp_path))
    assert weights.name == "averaging-weights"
    assert plot.name == "training-PromptSRC-published-16shots"
    losses, accuracies, others, nothing = plot.figure.axes
    assert [losses.get_title(), others.get_title()] == ["dtd, 2 seeds", "eurosat, 2 seeds"]
    assert [list(line.get_ydata()) for line in losses.lines] == [[1.0, 0.5]]
    assert [list(line.get_ydata()) for line in accuracies.lines] == [[60.0, 60.0]]
    assert not nothing.axison
    assert {row["mean"] for row in plot.numbers if row["dataset"] == "eurosat"} == {1.0, 0.5}
    assert {row["value"] for row in plot.numbers} == {"loss", "accuracy, base, current"}


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"epochs": 3, "tests": []}', '{"epochs": [{"epoch": "x"}], "tests": []}'],
)
def test_broken_curves_are_named(text, tmp_path, capsys):
    path = write(tmp_path, 1) / "seed1/curves.json"
    path.write_text(text)
    page = ["--format", "html", "--out", str(tmp_path / "page.html")]
    assert report.main(["base2new", str(tmp_path), *page]) == 2
    assert str(path) in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()


def test_the_source_is_shown_but_not_averaged_and_shifted_sets_have_their_own_table(tmp_path):
    runs = table_runs("cross_dataset", ["PromptSRC", "ZeroshotCLIP"], ["dtd", "eurosat"], [1])
    runs += table_runs("domain_generalization", ["PromptSRC"], ["all"], [1])[1:]
    accuracies = {"imagenet": 71.0, "dtd": 46.0, "eurosat": 44.0}
    for run in runs:
        write_run(tmp_path, run, accuracies.get(run.dataset, 60.0))
    seeds = Selection(seeds=(1,))
    for protocol, average in (("cross_dataset", 45.0), ("domain_generalization", 60.0)):
        figures = {
            (f.series[0], f.dataset): f
            for f in summarise(protocol, find_results(protocol, tmp_path), seeds)
        }
        assert figures["PromptSRC", "imagenet"].mean == 71.0
        assert figures["PromptSRC", AVERAGE].mean == average
        assert ("PromptSRC", "dtd") in figures or protocol != "cross_dataset"
        assert ("PromptSRC", "dtd") not in figures or protocol == "cross_dataset"
    assert figures["PromptSRC", AVERAGE].published.value == 60.65
    assert not any(r.method == "PromptSRC" for r in find_results("few_shot", tmp_path))


def test_few_shot_tables_join_the_configurations_of_coop(tmp_path, capsys):
    for run in table_runs("few_shot", ["CoOp", "PromptSRC"], ["dtd"], [1], [1, 4, 16]):
        shots = int(run.folder.split("shots")[0].rpartition("_")[2])
        write_run(tmp_path, run, 50.0 + shots)
    assert report.main(["few_shot", str(tmp_path), "--seeds", "1", "--brief"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (columns,) = (line.split("  ") for line in lines if line.startswith("dataset"))
    assert [each.strip() for each in columns if each][2:] == ["1 shots", "4 shots", "16 shots"]
    assert [line.split() for line in lines if line.startswith("dtd")] == [
        ["dtd", method, *(f"{50 + shots:.2f}" for shots in (1, 4, 16))]
        for method in ("CoOp", "PromptSRC")
    ]
    # models of cross-dataset transfer, in the folders beside
    for method in ("CoOp", "IVLP"):
        transfer = table_runs("cross_dataset", [method], ["dtd"], [1], [16], "builtin")[0]
        write_run(tmp_path, transfer, 99.0)
    assert all(r.accuracy < 99 for r in find_results("few_shot", tmp_path))
    arguments = ["few_shot", str(tmp_path), "--seeds", "1", "--plots", str(tmp_path / "plots")]
    assert report.main(arguments) == 0
    assert (tmp_path / "plots/few_shot-few-shot.png").is_file()


def test_zero_shot_results_of_other_tables_add_no_rows_to_few_shot(tmp_path):
    for run in table_runs("few_shot", ["ZeroshotCLIP"], ["dtd", "eurosat"]):
        write_run(tmp_path, run, 40.0)
    for run in table_runs("few_shot", ["PromptSRC"], ["dtd"], [1], [1]):
        write_run(tmp_path, run, 50.0)
    figures = summarise("few_shot", find_results("few_shot", tmp_path), Selection(seeds=(1,)))
    assert {(f.series[0], f.dataset, f.mean) for f in figures} == {
        (method, dataset, mean)
        for method, mean in (("ZeroshotCLIP", 40.0), ("PromptSRC", 50.0))
        for dataset in ("dtd", AVERAGE)
    }
