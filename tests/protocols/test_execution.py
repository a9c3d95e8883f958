"""What is kept, what goes on, what is refused; and everything that the scripts can be asked for."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from dassl.engine import TRAINER_REGISTRY
from filelock import FileLock

import train
from protocols import launch
from protocols.execution import devices, single_run
from protocols.execution.single_run import (
    LOCK,
    RunError,
    check_data,
    finished,
    sole_writer,
    started,
)
from protocols.published import methods, runs
from protocols.published.runs import Environment
from protocols.run import main as sweep_command
from tests.protocols.small import execute, make_environment
from trainers import named_files, pictures

TRAIN = runs.base2new_train("PromptSRC", "my_images", 1)
TEST = runs.base2new_test("PromptSRC", "my_images", 1)


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    environment = make_environment(tmp_path_factory.mktemp("runs"))
    execute(TRAIN, environment)
    execute(TEST, environment)
    return environment


def accuracy(environment, run):
    return json.loads((environment.output / run.folder / "results.json").read_text())["metrics"][
        "accuracy"
    ]


@pytest.mark.parametrize("run", [TRAIN, TEST])
def test_a_finished_run_is_kept(environment, run, monkeypatch, capsys):
    assert finished(run, environment) == accuracy(environment, run)
    monkeypatch.setattr(single_run, "started", None)
    single_run.run_here(run, environment)
    assert "kept" in capsys.readouterr().out


def test_settings_that_cannot_change_the_result_do_not_count(environment):
    options = (*environment.options, "TRAIN.PRINT_FREQ", "3", "TEST.EVERY", "5")
    assert finished(TRAIN, replace(environment, options=options)) is not None


def test_another_configuration_is_refused_by_its_keys(environment):
    options = (*environment.options, "OPTIM.LR", "0.1")
    with pytest.raises(RunError, match=r"OPTIM\.LR was 0\.0025 and is 0\.1"):
        finished(TRAIN, replace(environment, options=options))


@pytest.mark.parametrize("run", [TRAIN, TEST])
def test_the_best_epoch_is_not_taken_from_a_run_of_the_last_one(run, environment):
    options = (*environment.options, "TEST.FINAL_MODEL", "best_val")
    with pytest.raises(RunError, match=r"TEST\.FINAL_MODEL was 'last_step' and is 'best_val'"):
        finished(run, replace(environment, options=options))


@pytest.mark.parametrize("run", [TRAIN, TEST])
def test_results_of_other_pictures_are_not_kept(run, environment, monkeypatch):
    monkeypatch.setattr(pictures, "_described", {})
    name = "cat" if run is TRAIN else "hen"  # of the base and of the new classes
    picture = environment.data / "pictures" / "test" / name / "0.png"
    before = picture.read_bytes()
    try:
        picture.write_bytes(before + b"0")
        with pytest.raises(
            RunError, match=rf"of other pictures or files: test: '{name}' \(4 then, 4 now\)"
        ):
            finished(run, environment)
    finally:
        picture.write_bytes(before)


@pytest.mark.parametrize("run", [TRAIN, TEST])
def test_results_of_another_backbone_in_the_same_file_are_not_kept(run, environment, monkeypatch):
    monkeypatch.setattr(named_files, "_digest", lambda *about: "another")
    with pytest.raises(RunError, match=r"or files: MODEL\.BACKBONE\.NAME .* has other content"):
        finished(run, environment)


def test_results_whose_pictures_are_gone_are_kept_and_that_is_said(
    environment, monkeypatch, capsys
):
    monkeypatch.setattr(pictures, "_described", {})
    folder = environment.data / "pictures"
    away = folder.rename(folder.with_name("away"))
    try:
        assert finished(TEST, environment) == accuracy(environment, TEST)
    finally:
        away.rename(folder)
    assert "its pictures cannot be compared" in capsys.readouterr().out


def test_a_run_without_its_last_checkpoint_is_unfinished(environment):
    checkpoint = next((environment.output / TRAIN.folder).glob("*/model.pth.tar-2"))
    away = checkpoint.rename(checkpoint.with_name("away"))
    try:
        assert finished(TRAIN, environment) is None
    finally:
        away.rename(checkpoint)


def test_a_test_of_prompts_that_have_changed_is_done_again(environment):
    checkpoint = next((environment.output / TRAIN.folder).glob("*/model.pth.tar-2"))
    before = checkpoint.read_bytes()
    try:
        checkpoint.write_bytes(before + b"0")
        assert finished(TEST, environment) is None
    finally:
        checkpoint.write_bytes(before)


def test_a_test_of_other_weights_is_refused(environment, tmp_path):
    given = replace(TEST, source=None, weights=str(tmp_path / "base/seed1"))
    with pytest.raises(RunError, match="test of the prompts in"):
        finished(given, environment)


def test_results_that_cannot_be_read_are_named(environment):
    path = environment.output / TEST.folder / "results.json"
    before = path.read_text()
    try:
        path.write_text(before[:40])
        with pytest.raises(RunError, match=r"results\.json cannot be read"):
            finished(TEST, environment)
    finally:
        path.write_text(before)


@pytest.mark.parametrize("accuracy", [500, float("nan"), True, "80", None])
def test_a_result_that_is_no_percentage_is_not_kept(accuracy, environment):
    path = environment.output / TRAIN.folder / "results.json"
    before = path.read_text()
    try:
        broken = {**json.loads(before), "metrics": {"accuracy": accuracy}}
        path.write_text(json.dumps(broken))
        with pytest.raises(RunError, match=r"results\.json h(as an|olds no) accuracy"):
            finished(TRAIN, environment)
    finally:
        path.write_text(before)


def test_an_option_that_does_not_exist_is_said_without_a_traceback(environment):
    options = (*environment.options, "OPTIM.LRR", "3")
    with pytest.raises(RunError, match="LRR"):
        finished(TRAIN, replace(environment, options=options))


def test_a_folder_has_one_writer(tmp_path, monkeypatch):
    monkeypatch.setattr(single_run, "PATIENCE", 0)
    with (
        FileLock(tmp_path / LOCK),
        pytest.raises(RunError, match="another process is writing"),
        sole_writer(tmp_path),
    ):
        pass
    with sole_writer(tmp_path):
        pass


def test_a_machine_without_data_says_so_before_it_starts(tmp_path):
    nowhere = Environment(tmp_path / "nowhere", tmp_path)
    run = runs.base2new_train("PromptSRC", "dtd", 1)
    with pytest.raises(RunError, match="no data root"):
        started(run, nowhere).__enter__()
    check_data(TRAIN, nowhere)  # people's own pictures need none


def arguments_of(script, output):
    values = {
        "DATASET": "my_images", "SEED": "1", "SHOTS": "1", "CTP": "middle", "NCTX": "2", "CSC": "True"
    }  # fmt: skip
    values["WEIGHTS"] = str(output / "weights")
    values["CONFIG"] = "vit_b16_ep50"
    return [values[name] for name in script.arguments]


@pytest.mark.parametrize("method", ["PromptSRC", "CoOp", "ZeroshotCLIP"])
def test_every_script_runs_to_its_end(method, environment, monkeypatch):
    """Training scripts first, so that the tests and the given weights have prompts to load."""
    monkeypatch.setenv("SOURCE", "my_images")
    scripts = launch.scripts_of(method)
    if method == "CoOp":  # what others do not have
        scripts = {"main": scripts["main"]}
    if method == "PromptSRC":
        scripts = {name: script for name, script in scripts.items() if name != "eval"}
        weights = environment.output / "weights"
        weights.mkdir(exist_ok=True)
        transfer = runs.cross_dataset_train(method, "my_images", 1)
        few_shot = runs.few_shot(method, "my_images", 1, 1)
        for link, run in (("base", TRAIN), ("", transfer), ("1shot", few_shot)):
            (weights / link).mkdir(exist_ok=True)
            (weights / link / "seed1").symlink_to(environment.output / run.folder)
    monkeypatch.setenv("SEEDS", "1")
    for name, script in scripts.items():
        arguments = arguments_of(script, environment.output)
        script, given, _, _ = launch.parse(["x.sh", method, name, *arguments])
        planned = script.runs(given)
        assert planned
        for run in planned:
            folder = execute(run, environment)
            results = json.loads((folder / "results.json").read_text())
            assert results["trainer"] == method
            assert 0 <= results["metrics"]["accuracy"] <= 100


def test_the_evaluation_script_tests_the_few_shot_model_of_the_source(monkeypatch):
    monkeypatch.setenv("SEEDS", "2")
    script, given, _, _ = launch.parse(["x.sh", "CoOp", "eval", "dtd", "vit_b16_ep50"])
    (run,) = script.runs(given)
    assert run.source == runs.few_shot("CoOp", "imagenet", 16, 2, "vit_b16_ep50")
    context = "nctx16_cscFalse_ctpend"
    assert run.folder == f"evaluation/CoOp/vit_b16_ep50_16shots/{context}/dtd/seed2"
    assert "--load-epoch=50" in run.arguments(Environment(Path("d"), Path("o")))


def test_given_weights_give_the_accuracy_of_the_run_that_made_them(environment, tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "base/seed1").symlink_to(environment.output / TRAIN.folder)
    weights = str(tmp_path / "base/seed1")
    elsewhere = replace(environment, output=tmp_path / "output")
    for run, classes in ((TRAIN, "base"), (TEST, "new")):
        given = runs.base2new_test("PromptSRC", "my_images", 1, "", classes, weights)
        execute(given, elsewhere)
        assert accuracy(elsewhere, given) == accuracy(environment, run)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["dtdd", "1"], "did you mean 'dtd'"),
        (["dtd", "one"], "not a number"),
        (["dtd"], "required: SEED\n"),
        (["dtd", "1", "OPTIM.LR"], "has no value"),
        (["dtd", "1", "lr", "1"], "not a configuration key"),
        (["dtd", "1", "OPTIM.LR", "1", "SEED", "2"], "SEED cannot be a KEY VALUE pair"),
        (["dtd", "1", "DATASET.SUBSAMPLE_CLASSES", "all"], "set by the choice of the script"),
    ],
)
def test_scripts_refuse_bad_arguments(arguments, says, capsys):
    with pytest.raises(SystemExit) as stop:
        launch.parse(["base2new_train.sh", "PromptSRC", "base2new_train", *arguments])
    assert stop.value.code == 2
    assert says in capsys.readouterr().err


def test_an_unknown_configuration_is_refused_with_the_nearest(monkeypatch, capsys):
    monkeypatch.setenv("CFG", "vit_b61")
    monkeypatch.setenv("PREC", "fp32")
    assert launch.main(["x.sh", "CoOp", "base2new_train", "dtd", "1"]) == 2
    assert "vit_b16" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seeds", "planned"), [("", [1, 2, 3]), ("5", [5]), ("3 1", [3, 1])], ids=["unset", "5", "3 1"]
)
def test_scripts_of_several_seeds_run_those_asked_for(seeds, planned, monkeypatch):
    monkeypatch.setenv("SEEDS", seeds)
    script, given, _, _ = launch.parse(["x.sh", "CoOp", "few_shot", "dtd", "4"])
    assert [run.seed for run in script.runs(given)] == planned


@pytest.mark.parametrize(("seeds", "says"), [("one", "'one' is not a number"), ("1 1", "twice")])
def test_bad_seeds_are_refused(seeds, says, monkeypatch, capsys):
    monkeypatch.setenv("SEEDS", seeds)
    assert launch.main(["x.sh", "CoOp", "few_shot", "dtd", "4"]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["CoOpp", "few_shot", "dtd", "4"], "did you mean 'CoOp'"),
        (["CoOp", "fewshot", "dtd", "4"], "did you mean 'few_shot'"),
        (["ZeroshotCLIP", "base2new_train", "dtd", "1"], "did you mean 'base2new_test'"),
        (["IVLP", "xd_train", "imagenet", "1"], "no published configuration for cross_dataset"),
    ],
)
def test_what_there_is_not_is_refused_with_the_nearest(words, says, monkeypatch, capsys):
    monkeypatch.setenv("PREC", "fp32")
    assert launch.main(["x.sh", *words]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("output", [__file__, f"{__file__}/output"])
def test_an_output_root_that_is_a_file_is_refused(output, monkeypatch, capsys):
    monkeypatch.setenv("OUTPUT", output)
    monkeypatch.setenv("PREC", "fp32")
    assert launch.main(["x.sh", "CoOp", "base2new_train", "dtd", "1"]) == 2
    assert f"the output root {output} cannot be a folder" in capsys.readouterr().err
    assert sweep_command(["base2new", "--datasets", "builtin", "--output", output]) == 2
    assert "cannot be a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["PromptSRC", "base2new_test", "dtd", "2"], "trained on dtd, seed 2: "),
        (["PromptSRC", "base2new_test", "dtd", "2"], "Train it first, by base2new_train with"),
        (["PromptSRC", "xd_test", "dtd", "1"], "trained on imagenet, seed 1: "),
        (["MMRL", "cross_datasets_test", "dtd"], "by xd_train or cross_datasets_train with"),
        (["CoOp", "eval", "dtd", "vit_b16_ep50"], "by few_shot or main with"),
    ],
)
def test_a_test_before_its_training_names_the_script(words, says, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(single_run, "started", None)
    monkeypatch.setenv("OUTPUT", str(tmp_path))
    monkeypatch.setenv("PREC", "fp32")
    assert launch.main(["x.sh", *words]) == 2
    assert says in capsys.readouterr().err


def test_without_arguments_the_methods_and_scripts_are_listed(capsys):
    assert launch.main(["run.sh"]) == 0
    everything = capsys.readouterr().out
    for name in (*methods.names(), *launch.SCRIPTS):
        assert name in everything
    assert launch.main(["run.sh", "coop"]) == 0
    assert "main DATASET CONFIG CTP NCTX SHOTS CSC" in capsys.readouterr().out


def test_own_scripts_set_keys_of_the_type_of_the_published_value(capsys):
    words = ["dtd", "vit_b16", "end", "4", "1", "maybe"]
    with pytest.raises(SystemExit):
        launch.parse(["x.sh", "CoOp", "main", *words])
    assert "neither True nor False" in capsys.readouterr().err
    script, given, _, _ = launch.parse(["x.sh", "CoOp", "main", *words[:-1], "True"])
    assert script.runs(given)[0].folder == "dtd/CoOp/vit_b16_1shots/nctx4_cscTrue_ctpend/seed1"


def test_without_cuda_precision_is_fp32_or_what_was_asked_for(monkeypatch, capsys):
    monkeypatch.setattr(devices.metadata, "version", {"torch": "2.13.0"}.get)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert launch.precision_here("") == "fp32"
    assert "fp32" in capsys.readouterr().out
    assert launch.precision_here("bf16") == "bf16"
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert launch.precision_here("") == ""


@pytest.mark.parametrize(
    ("version", "expected"), [("2.4.1+cpu", []), ("2.4.1+cu121", ["0", "1"]), ("2.4.1", ["0", "1"])]
)
def test_a_cpu_build_of_torch_is_not_imported_to_find_devices(version, expected, monkeypatch):
    monkeypatch.setattr(devices.metadata, "version", {"torch": version}.get)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    if not expected:
        monkeypatch.setitem(sys.modules, "torch", None)  # an import of it would fail
    assert devices.cuda_devices() == expected


def test_precision_goes_to_the_method_that_runs():
    here = Environment(Path("d"), Path("o"), precision="bf16")
    for method in ("ZeroshotCLIP", "CoOp", "PromptSRC"):
        run = runs.base2new_test(method, "dtd", 1)
        cfg = train.configure(train.parse_arguments(run.arguments(here)))
        node = TRAINER_REGISTRY.get(method).node
        assert {name for name, each in cfg.TRAINER.items() if each_precision(each) == "bf16"} == {
            node
        }


def each_precision(node):
    return node.get("PREC") if isinstance(node, dict) else None
