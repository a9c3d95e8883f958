"""parse_test_res.py on logs as the engine writes them."""

from __future__ import annotations

import pytest

from parse_test_res import main

RESULT = (
    "=> result\n* total: 1,000\n* correct: 853\n* accuracy: {}%\n* error: 1.0%\n* macro_f1: {}%\n"
)


def log(path, accuracy, macro_f1=50.0, training=True, before=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    marker = "Finish training\nDeploy the last-epoch model\n" if training else ""
    path.write_text(before + marker + RESULT.format(accuracy, macro_f1))


@pytest.fixture
def experiment(tmp_path):
    for seed, accuracy in enumerate((80.0, 82.0, 87.0), start=1):
        log(tmp_path / f"seed{seed}/log.txt", accuracy)
    return tmp_path


def output_of(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_mean_and_standard_deviation(experiment, capsys):
    status, out, _ = output_of(capsys, experiment)
    assert status == 0
    assert "* accuracy: 83.0% +- 2.9%" in out  # population deviation, as numpy.std


def test_interval_and_keyword(experiment, capsys):
    assert "83.0% +- 3.3%" in output_of(capsys, experiment, "--ci95")[1]
    assert "* macro_f1: 50.0% +- 0.0%" in output_of(capsys, experiment, "--keyword", "macro_f1")[1]


def test_the_value_after_the_training_counts_not_a_validation_before(experiment, capsys):
    log(experiment / "seed1/log.txt", 80.0, before=RESULT.format(10.0, 10.0))
    assert "83.0%" in output_of(capsys, experiment)[1]


def test_newest_log_that_holds_a_result(experiment, capsys):
    log(experiment / "seed3/log.txt-2026-01-02-03-04-05", 84.0)
    (experiment / "seed3/log.txt-2026-02-02-03-04-05").write_text("killed before the end")
    status, out, _ = output_of(capsys, experiment)
    assert status == 0
    assert "* accuracy: 82.0%" in out
    assert "log.txt-2026-01-02-03-04-05" in out


def test_logs_of_tests_need_test_log(tmp_path, capsys):
    log(tmp_path / "seed1/log.txt", 70.0, training=False)
    status, _, err = output_of(capsys, tmp_path)
    assert status == 2
    assert "--test-log" in err
    assert "* accuracy: 70.0%" in output_of(capsys, tmp_path, "--test-log")[1]


def test_several_experiments(tmp_path, capsys):
    for name, accuracy in (("dtd", 60.0), ("eurosat", 70.0)):
        log(tmp_path / name / "seed1/log.txt", accuracy)
    out = output_of(capsys, tmp_path, "--multi-exp")[1]
    assert "Average over 2 experiments: 65.0%" in out


def test_an_unfinished_seed_is_not_left_out_silently(experiment, capsys):
    (experiment / "seed2/log.txt").write_text("epoch [1/2]")
    status, _, err = output_of(capsys, experiment)
    assert status == 2
    assert "seed2" in err


def test_a_keyword_that_no_result_has_is_told_from_an_unfinished_run(experiment, capsys):
    for more in ([], ["--test-log"]):
        status, _, err = output_of(capsys, experiment, "--keyword", "acuracy", *more)
        assert status == 2
        assert f"{experiment / 'seed1'} have no acuracy: give one of accuracy, error, macro" in err
        assert "unfinished" not in err


def said(method, dataset, seed):
    return f"Setting fixed seed: {seed}\nLoading trainer: {method}\nLoading dataset: {dataset}\n"


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (said("PromptSRC", "DTD", 2), "is of CoOp and "),
        (said("CoOp", "DTD", 1), "are both of CoOp, DTD, seed 1"),
    ],
)
def test_what_are_no_seeds_of_one_experiment_is_refused(other, says, tmp_path, capsys):
    log(tmp_path / "seed1/log.txt", 80.0, before=said("CoOp", "DTD", 1))
    log(tmp_path / "seed2/log.txt", 90.0, before=other)
    status, out, err = output_of(capsys, tmp_path)
    assert status == 2
    assert says in err
    assert str(tmp_path / "seed2/log.txt") in err
    assert "+-" not in out


@pytest.mark.parametrize("other", [said("CoOp", "DTD", 2), said("CoOp", "EuroSAT", 1), ""])
def test_other_seeds_and_datasets_are_averaged(other, tmp_path, capsys):
    log(tmp_path / "a/log.txt", 80.0, before=said("CoOp", "DTD", 1))
    log(tmp_path / "b/log.txt", 90.0, before=other)
    assert "* accuracy: 85.0%" in output_of(capsys, tmp_path)[1]


@pytest.mark.parametrize("value", ["444.4", "-3.0", "nan", "inf", "1e3", "8o.0"])
def test_what_is_no_percentage_is_refused_by_its_log(value, experiment, capsys):
    log(experiment / "seed2/log.txt", value)
    status, out, err = output_of(capsys, experiment)
    assert status == 2
    assert str(experiment / "seed2/log.txt") in err
    assert "+-" not in out


@pytest.mark.parametrize(("folder", "says"), [("none", "no folder"), ("seed1", "parent folder")])
def test_folders_of_another_shape_are_refused(experiment, capsys, folder, says):
    status, _, err = output_of(capsys, experiment / folder)
    assert status == 2
    assert says in err
