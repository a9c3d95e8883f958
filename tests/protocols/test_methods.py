"""What a method's folder says: rules, folders, scripts, teachers, and what it may not say."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from contextlib import nullcontext, suppress

import pytest

from protocols import launch
from protocols.execution import single_run
from protocols.execution.single_run import RunError, check_teacher
from protocols.published import methods, runs, settings
from protocols.published.figures import published
from protocols.published.runs import Environment, table_runs
from protocols.published.settings import UsageError
from protocols.reporting.results import find_results
from protocols.reporting.summary import Selection, summarise

STUDENT = """
appeared: "2024-03"
saw: unlabeled images of the classes it is tested on
settings:
  - for: {protocol: base2new}
    config: main
    shots: 0
    folder: "base2new/{phase}/{dataset}/shots_{shots}/{method}/seed_{seed}"
  - for: {protocol: base2new}
    teacher: {method: PromptSRC, option: TRAINER.STUDENT.TEACHER, seed: 2}
  - for: {protocol: cross_dataset}
    config: main
    trained_on: target
    teacher: {method: PromptSRC, option: TRAINER.STUDENT.TEACHER}
  - for: {protocol: few_shot}
    config: main
    options: {TRAINER.STUDENT.WEIGHT: 2.5, TRAINER.STUDENT.LAYERS: 3, TRAINER.STUDENT.WIDE: false}
    folder: "few_shot/{dataset}/{method}/{config}_{shots}shots/w{WEIGHT}/seed{seed}"
  - for: {protocol: few_shot, dataset: [dtd, eurosat], shots: [8, 16]}
    options: {TRAINER.STUDENT.WEIGHT: 7.0}
  - for: {protocol: few_shot, dataset: other}
    note: "{dataset} has no weight of its own"
scripts:
  weighed:
    runs: few_shot
    purpose: with a weight
    arguments: [DATASET, WEIGHT]
    fixed: {SHOTS: 4}
    options: {TRAINER.STUDENT.WEIGHT: WEIGHT}
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a published.yaml of a method Student into a copy of the configurations."""
    shutil.copytree(settings.CONFIGS, tmp_path / "configs")
    monkeypatch.setattr(settings, "CONFIGS", tmp_path / "configs")
    monkeypatch.setattr(settings, "ROOT", tmp_path)
    folder = tmp_path / "configs/trainers/Student"
    folder.mkdir()
    for name in ("main", "builtin"):
        shutil.copy(tmp_path / "configs/trainers/IVLP/builtin.yaml", folder / f"{name}.yaml")

    def write(text):
        (folder / methods.FILE).write_text(text)
        methods.find.cache_clear()
        methods.names.cache_clear()
        return methods.find("Student")

    yield write
    methods.find.cache_clear()
    methods.names.cache_clear()


@pytest.mark.parametrize(
    ("dataset", "shots", "weight"),
    [("dtd", 8, "7.0"), ("dtd", 4, "2.5"), ("sun397", 16, "2.5"), ("my_images", 8, "2.5")],
)
def test_rules_that_fit_are_laid_over_each_other(dataset, shots, weight, write):
    write(STUDENT)
    run = runs.few_shot("Student", dataset, shots, 1)
    assert run.folder == f"few_shot/{dataset}/Student/main_{shots}shots/w{weight}/seed1"
    pairs = dict(zip(run.options[::2], run.options[1::2], strict=True))
    assert pairs["TRAINER.STUDENT.WEIGHT"] == weight
    assert pairs["TRAINER.STUDENT.WIDE"] == "False"
    said = ("my_images has no weight of its own",) if dataset == "my_images" else ()
    assert run.notes == said


def test_values_beside_a_configuration_are_its_own(write):
    write(STUDENT)
    published_, builtin = (runs.base2new_train("Student", "dtd", 1, c) for c in ("", "builtin"))
    assert published_.folder == "base2new/train_base/dtd/shots_0/Student/seed_1"
    assert builtin.folder == "base2new/train_base/dtd/shots_16/Student/builtin/seed1"


def test_a_teacher_is_trained_first_where_it_is_asked_for(write, tmp_path, monkeypatch):
    write(STUDENT)
    teacher = runs.base2new_train("PromptSRC", "dtd", 2)
    planned = table_runs("base2new", ["Student"], ["dtd"], with_teachers=True)
    assert planned.count(teacher) == 1
    assert planned[0] == teacher
    assert len(planned) == 1 + 2 * 3
    assert teacher not in table_runs("base2new", ["Student"], ["dtd"])
    environment = Environment(tmp_path, tmp_path / "out")
    assert planned[1].arguments(environment)[-2:] == [
        "TRAINER.STUDENT.TEACHER",
        str(tmp_path / "out" / teacher.folder),
    ]
    with pytest.raises(RunError, match=r"PromptSRC, which is not trained.*--with-teacher"):
        check_teacher(planned[1], environment)
    started = []
    monkeypatch.setattr(launch, "run_here", lambda run, _: started.append(run))
    monkeypatch.setenv("PREC", "fp32")
    monkeypatch.setenv("OUTPUT", str(tmp_path))
    words = ["run.sh", "Student", "base2new_train", "dtd", "1", "--with-teacher", "OPTIM.LR", "1.0"]
    assert launch.main(words) == 0
    assert started == [teacher, planned[1]]


def test_a_teacher_of_ones_own_takes_the_place_of_the_planned_one(write, tmp_path, monkeypatch):
    write(STUDENT)
    run = runs.base2new_train("Student", "dtd", 1)
    own = ("TRAINER.STUDENT.TEACHER", "my/teacher")
    environment = Environment(tmp_path, tmp_path, options=own)
    check_teacher(run, environment)
    assert run.arguments(environment)[-2:] == list(own)
    assert run.arguments(environment).count("TRAINER.STUDENT.TEACHER") == 1
    started = []
    monkeypatch.setattr(launch, "run_here", lambda run, _: started.append(run))
    monkeypatch.setenv("PREC", "fp32")
    assert (
        launch.main(["run.sh", "Student", "base2new_train", "dtd", "1", "--with-teacher", *own])
        == 0
    )
    assert started == [run]


def test_a_teacher_need_not_have_the_pairs_that_its_student_is_given(write, tmp_path, monkeypatch):
    write(STUDENT)

    def finished(run, environment):
        if environment.options:
            raise RunError("it holds a run with another configuration: OPTIM.LR")
        return 80.0

    monkeypatch.setattr(single_run, "finished", finished)
    run = runs.base2new_train("Student", "dtd", 1)
    check_teacher(run, Environment(tmp_path, tmp_path, options=("OPTIM.LR", "0.001")))


def test_the_teacher_has_the_configuration_that_was_asked_for(write):
    write(STUDENT)
    assert runs.base2new_train("Student", "dtd", 1, "builtin").teacher.config == "builtin"


def test_what_learns_from_targets_is_trained_on_each(write):
    write(STUDENT)
    planned = table_runs("cross_dataset", ["Student"], ["dtd", "eurosat"], [1], with_teachers=True)
    assert [(run.method, run.dataset) for run in planned] == [
        ("PromptSRC", "imagenet"),
        ("Student", "dtd"),
        ("Student", "eurosat"),
    ]


def leave_result(output, run, accuracy=50.0):
    folder = output / run.folder
    folder.mkdir(parents=True)
    pairs = dict(zip(run.options[::2], run.options[1::2], strict=True))
    content = {
        "trainer": run.method,
        "dataset": settings.dataset_names()[run.dataset],
        "classes": pairs["DATASET.SUBSAMPLE_CLASSES"],
        "split": "test",
        "seed": run.seed,
        "metrics": {"accuracy": accuracy},
        "config": {"TRAINER": {}},
    }
    (folder / "results.json").write_text(json.dumps(content))


def test_reports_find_results_in_the_folders_of_the_rules(write, tmp_path):
    write(STUDENT)
    output = tmp_path / "out"
    own = {"TRAINER.STUDENT.WEIGHT": "9.0"}
    planned = {
        runs.base2new_train("Student", "dtd", 1): ("base2new", ""),
        runs.base2new_train("Student", "dtd", 1, "builtin"): ("base2new", "builtin"),
        runs.base2new_train("KgCoOp", "dtd", 1): ("base2new", ""),
        runs.few_shot("Student", "dtd", 8, 1): ("few_shot", ""),
        runs.few_shot("Student", "dtd", 8, 1, options=own): ("few_shot", "w9.0"),
        runs.cross_dataset_train("Student", "dtd", 1): ("cross_dataset", ""),
    }
    for run in planned:
        leave_result(output, run)
    for protocol in ("base2new", "few_shot", "cross_dataset"):
        found = {
            (output / run.folder, variant)
            for run, (of, variant) in planned.items()
            if of == protocol
        }
        results = find_results(protocol, output)
        assert {(r.folder, r.variant) for r in results} == found
        assert {r.shots for r in results} <= {0, 8, 16}


@pytest.mark.parametrize("protocol", settings.PROTOCOLS)
@pytest.mark.parametrize("config", ["", settings.BUILTIN])
def test_reports_find_every_method_in_its_published_folders(protocol, config, tmp_path):
    """And none of them twice, or under the name of another."""
    shifted = protocol == "domain_generalization"
    datasets = ["imagenetv2", "imagenet_r"] if shifted else ["dtd", "sun397"]
    datasets = ["all"] if config else datasets
    planned = {}
    names = methods.ablations() if protocol == "ablation" else methods.names()
    for name in (name for name in names if methods.find(name).serves(protocol)):
        # papers do not fix everything; the built-in world has all
        with nullcontext() if config else suppress(UsageError):
            runs_ = table_runs(protocol, [name], datasets, [1, 2], [1, 8, 16], config)
            planned |= {tmp_path / run.folder: run for run in runs_}
    for run in planned.values():
        leave_result(tmp_path, run)
    found = find_results(protocol, tmp_path)
    assert {r.folder for r in found} == planned.keys()
    for result in found:
        run = planned[result.folder]
        assert (result.method, result.dataset, result.seed) == (run.method, run.dataset, run.seed)
        assert result.variant == config
    if protocol == "base2new":
        assert {"CoOp", "DePTIVLP", "MMRL", "PromptKD", "ZeroshotCLIP"} <= {r.method for r in found}


UNDER_ANOTHER_ROOF = """
settings:
  - for: {protocol: base2new}
    config: main
  - for: {protocol: cross_dataset}
    config: transfer
    folder: "base2new/train_base/{dataset}/shots_{shots}/{method}/{config}/seed{seed}"
    evaluation_folder: "base2new/test_new/{dataset}/shots_{shots}/{method}/{config}/seed{seed}"
"""


def test_transfer_under_the_roof_of_base_to_new_stays_out_of_its_table(write, tmp_path):
    folder = settings.CONFIGS / "trainers/Student"
    shutil.copy(folder / "main.yaml", folder / "transfer.yaml")
    write(UNDER_ANOTHER_ROOF)
    for protocol in ("base2new", "cross_dataset"):
        for run in table_runs(protocol, ["Student"], ["dtd"], [1]):
            leave_result(tmp_path / "out", run)
    for protocol in ("base2new", "cross_dataset"):
        results = find_results(protocol, tmp_path / "out")
        assert len(results) == 2
        assert {r.variant for r in results} == {""}


def test_own_scripts_stand_for_common_ones(write, monkeypatch):
    write(STUDENT)
    monkeypatch.setenv("SEEDS", "3")
    script, given, _, _ = launch.parse(["run.sh", "student", "weighed", "dtd", "0.50"])
    (run,) = script.runs(given)
    assert run.folder == "few_shot/dtd/Student/main_4shots/w0.50/seed3"


def test_a_folder_of_one_configuration_needs_nothing_else(write, tmp_path):
    write("")
    with pytest.raises(UsageError, match="no published configuration for base2new"):
        runs.base2new_train("Student", "dtd", 1)  # there are two
    (settings.CONFIGS / "trainers/Student/builtin.yaml").unlink()
    assert runs.base2new_train("Student", "dtd", 1).config == "main"
    assert runs.few_shot("Student", "dtd", 4, 1).folder == "dtd/Student/main_4shots/seed1"
    assert methods.names()[-1] == "Student"


def test_a_method_that_serves_some_protocols_is_refused_the_others(write, capsys):
    write("protocols: [few_shot]")
    assert runs.few_shot("Student", "dtd", 4, 1, "main").folder == "dtd/Student/main_4shots/seed1"
    assert list(launch.scripts_of("Student")) == ["few_shot", "reproduce_few_shot"]
    assert launch.main(["run.sh", "Student", "base2new_train", "dtd", "1"]) == 2
    assert "there are: few_shot, reproduce_few_shot" in capsys.readouterr().err
    for protocol in ("base2new", "domain_generalization"):
        with pytest.raises(UsageError, match=r"Student cannot serve .* and serves few_shot"):
            table_runs(protocol, ["Student"], ["dtd"], config="main")


def test_the_linear_probe_has_a_row_for_each_draw_and_its_published_figures(tmp_path):
    names = ["LinearProbeCLIP", "LinearProbeCLIPSameImages", "CoOp"]
    planned = table_runs("few_shot", names, ["all"], [1], [1, 16])
    draws = {run.method: "lpclip" in run.options for run in planned}
    assert draws == {"LinearProbeCLIP": True, "LinearProbeCLIPSameImages": False, "CoOp": False}
    for run in planned:
        leave_result(tmp_path, run)
    statistics = summarise("few_shot", find_results("few_shot", tmp_path), Selection(seeds=[1]))
    averages = {
        (f.series, f.shots): f.published and f.published.value
        for f in statistics
        if f.dataset == "average"
    }
    assert averages == {
        (("LinearProbeCLIP", ""), 1): 45.83,
        (("LinearProbeCLIP", ""), 16): 78.79,
        (("LinearProbeCLIPSameImages", ""), 1): None,
        (("LinearProbeCLIPSameImages", ""), 16): None,
        (("CoOp", ""), 1): 67.56,
        (("CoOp", ""), 16): 79.89,
    }


def test_the_small_clip_alone_is_asked_for_by_name(write, tmp_path):
    """Taken unasked it would train on a paper's source, and reports would look for the built-in one."""
    write("")
    (settings.CONFIGS / "trainers/Student/main.yaml").unlink()
    with pytest.raises(UsageError, match="name one of builtin"):
        table_runs("cross_dataset", ["Student"], ["dtd"], [1], [16])
    planned = table_runs("cross_dataset", ["Student"], ["all"], [1], [16], "builtin")
    assert planned[0].dataset == "builtin_things"
    for run in planned:
        leave_result(tmp_path, run)
    found = {
        r.folder.relative_to(tmp_path).as_posix() for r in find_results("cross_dataset", tmp_path)
    }
    assert found == {run.folder for run in planned}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "cannot be read as YAML"),
        ("- 1", "expected keys out of"),
        ("appeard: '2024'", "did you mean 'appeared'"),
        ("appeared: 2024", "expected a str"),
        ("settings: [{configs: main}]", "did you mean 'config'"),
        ("settings: [{for: {protocols: base2new}}]", "did you mean 'protocol'"),
        ("settings: [{for: {protocol: base2nw}}]", "did you mean 'base2new'"),
        ("settings: [{for: {dataset: dtdd}}]", "did you mean 'dtd'"),
        ("protocols: [fewshot]", "did you mean 'few_shot'"),
        ("settings: [{trained_on: sources}]", "neither source nor target"),
        ("settings: [{teacher: {method: PromptSRC}}]", "lacks option"),
        ("settings: [{config: main, folder: '{dataset}/{WIDTH}'}]", "cannot be filled"),
        ("scripts: {x: {runs: few_shot}}", "lacks purpose, arguments"),
        ("scripts: {x: {runs: fewshot, purpose: p, arguments: []}}", "did you mean 'few_shot'"),
        ("ablation: {rows: {x: {suffixes: y}}}", "did you mean 'suffix'"),
    ],
)
def test_what_a_folder_may_not_say_is_named(text, says, write, capsys):
    with suppress(UsageError):
        write(text)
    assert launch.main(["run.sh", "Student", "few_shot", "dtd", "4"]) == 2
    assert says in capsys.readouterr().err


def test_methods_are_reported_under_the_names_of_the_papers_and_figures_say_whose_they_are():
    reported = {method for _, method, *_ in published()}
    names = {methods.find(name).reported_as for name in methods.names()}
    assert {name for name in names if "+" in name} <= reported  # names that a method gives itself
    assert {"CoOp", "KgCoOp", "MaPLe", "ProGrad", "PromptSRC", "ZeroshotCLIP"} <= names & reported
    assert {figure.backbone for figure in published().values()} == {"ViT-B/16"}
    rerun = published()["base2new", "ProGrad", "average", 16, "base"]
    assert rerun.run_by == "the authors of KgCoOp"


def test_lists_and_help_bring_no_torch_and_nothing_that_only_linux_has():
    """In a process of its own, where what Windows lacks cannot be imported."""
    code = (
        "import sys; sys.modules['fcntl'] = sys.modules['resource'] = None\n"
        "from protocols import launch, report, run\n"
        "assert run.main(['base2new', '--methods', 'CoOp', '--list']) == 0\n"
        "assert launch.main(['run.sh', 'CoOp']) == 0\n"
        "assert not {'torch', 'yacs', 'dassl'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=settings.ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
