"""Sweeps whose runs share frozen features: which do, in what order, and never to a table's harm."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import replace

import pytest

from protocols.execution import sweep
from protocols.execution.sharing import ON, Sharing
from protocols.execution.sweep import Outcome, Sweep
from protocols.published.runs import Environment, table_runs
from tests.protocols.small import execute, make_environment


@pytest.fixture
def here(tmp_path) -> Environment:
    return Environment(tmp_path, tmp_path, precision="fp32")


def names(runs) -> list[str]:
    return [f"{run.method} {run.seed} {'trains' if run.trains else 'tests'}" for run in runs]


def test_runs_on_the_same_images_stand_together_and_share_features(here) -> None:
    runs = table_runs("base2new", ["CoOp", "KgCoOp", "ZeroshotCLIP"], ["my_images"], [1, 2])
    shared = Sharing.of(runs, here).runs
    assert names(shared) == [
        *("CoOp 1 trains", "CoOp 1 tests", "KgCoOp 1 trains", "KgCoOp 1 tests"),
        *("CoOp 2 trains", "CoOp 2 tests", "KgCoOp 2 trains", "KgCoOp 2 tests"),
        *("ZeroshotCLIP 1 tests", "ZeroshotCLIP 1 tests"),
    ]
    assert Sharing.of(runs, here).count == 4
    for run in shared:
        assert (run.options[:2] == ON) == run.trains
        assert run.source is None or run.source in shared
    assert {run.folder for run in shared} == {run.folder for run in runs}


@pytest.mark.parametrize(
    ("methods", "seeds"),
    [(["CoOp"], [1, 2, 3]), (["CoOp", "ProGrad"], [1]), (["ZeroshotCLIP"], [1])],
)
def test_nothing_is_kept_that_no_other_run_sees(methods, seeds, here) -> None:
    """Other seeds see other images, and ProGrad is published on another backbone."""
    runs = table_runs("base2new", methods, ["dtd"], seeds)
    assert Sharing.of(runs, here).runs == runs
    assert not Sharing.of(runs, here).count


def test_what_the_user_says_holds(here) -> None:
    runs = table_runs("base2new", ["CoOp", "KgCoOp"], ["my_images"], [1])
    own = Environment(here.data, here.output, options=("STORE.TRAINING", "False"))
    arguments = Sharing.of(runs, here).runs[0].arguments(own)
    assert arguments.index("True") < arguments.index("False")


class TwoAtATime:
    """An executor that keeps what ran at the same time; the run that has begun first ends first."""

    def __init__(self) -> None:
        self.running, self.together = deque(), []

    def free(self) -> bool:
        return len(self.running) < 2

    def submit(self, run) -> None:
        self.running.append(run)
        self.together.append({(each.seed, each.trains) for each in self.running})

    def collect(self):
        return [(self.running.popleft(), Outcome(50.0))]

    def stop(self) -> None:
        pass


def test_runs_on_the_same_images_run_at_the_same_time_only_where_nothing_else_is_left(
    here, monkeypatch
) -> None:
    monkeypatch.setattr(sweep, "POLL_SECONDS", 0)
    runs = table_runs("base2new", ["CoOp", "KgCoOp", "TCP"], ["my_images"], [1, 2])
    executor = TwoAtATime()
    assert Sweep(runs, here, executor).run()
    trained = [len(each) for each in executor.together if all(trains for _, trains in each)]
    assert len(executor.together) == len(runs)
    assert max(trained) == 2
    first_eight = executor.together[1:8]
    assert all(len(each) == 2 for each in first_eight)


def test_the_tables_are_those_without_the_store(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PROMPT_CACHE", str(tmp_path / "cache"))
    here = make_environment(tmp_path)
    without = ("STORE.TRAINING", "False", "STORE.TESTS", "False", "STORE.TEXTS", "False")
    plain = replace(here, output=tmp_path / "plain", options=(*here.options, *without))
    runs = table_runs("base2new", ["CoOp", "KgCoOp", "PromptSRC"], ["my_images"], [1])
    metrics = []
    for environment in (plain, here):
        folders = [execute(run, environment) for run in Sharing.of(runs, environment).runs]
        found = {each.relative_to(environment.output): _read(each, "results") for each in folders}
        metrics.append({folder: results["metrics"] for folder, results in found.items()})
    assert metrics[0] == metrics[1]
    used = [_read(folder, "manifest")["frozen_features"] or {} for folder in folders]
    trained = [bool(each["training"]["computed"]) for each in used if "training" in each]
    assert trained == [True, False, False]


def _read(folder, name):
    return json.loads((folder / f"{name}.json").read_text())
