"""What a run leaves beside its result: curves, tests in between, and the manifest."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from prompting import checkpoints
from protocols.published import runs
from tests.protocols.small import execute, make_environment
from trainers import resume
from trainers.named_files import file_digest

THREE_EPOCHS = ("OPTIM.MAX_EPOCH", "3")
EVERY = (*THREE_EPOCHS, "TEST.EVERY", "1")
PROMPTSRC = runs.base2new_train("PromptSRC", "my_images", 1)


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    return make_environment(tmp_path_factory.mktemp("records"))


def run(environment, name, run=PROMPTSRC, options=EVERY):
    """Execute with an output root of its own."""
    output = environment.output / name
    return execute(
        run, replace(environment, output=output, options=(*environment.options, *options))
    )


def read(folder, name):
    return json.loads((folder / name).read_text())


def learned(folder):
    return checkpoints.load(next(folder.glob("*/model.pth.tar-3")))["state_dict"]


@pytest.fixture(scope="module")
def tested(environment):
    return run(environment, "tested")


def without_seconds(curves):
    return [{k: v for k, v in e.items() if k != "seconds"} for e in curves["epochs"]], curves[
        "tests"
    ]


def test_tests_in_between_do_not_change_the_result(environment, tested):
    quiet = run(environment, "quiet", options=THREE_EPOCHS)
    expected = learned(quiet)
    for name, value in learned(tested).items():
        assert torch.equal(value, expected[name])
    assert read(quiet, "curves.json")["tests"] == []
    assert (
        without_seconds(read(quiet, "curves.json"))[0]
        == (without_seconds(read(tested, "curves.json"))[0])
    )


def test_both_halves_and_both_prompts_are_tested_every_epoch(tested):
    tests = read(tested, "curves.json")["tests"]
    kinds = {(t["epoch"], t["classes"], t["prompts"], t["total"]) for t in tests}
    assert kinds == {
        (epoch, classes, prompts, total)
        for epoch in (1, 2, 3)
        for classes, total in (("base", 12), ("new", 8))
        for prompts in ("current", "average")
    }


def test_the_last_average_is_the_model_that_is_tested_and_saved(environment, tested):
    final = {
        t["classes"]: t["accuracy"]
        for t in read(tested, "curves.json")["tests"]
        if (t["epoch"], t["prompts"]) == (3, "average")
    }
    assert final["base"] == read(tested, "results.json")["metrics"]["accuracy"]
    new = run(environment, "tested", runs.base2new_test("PromptSRC", "my_images", 1), THREE_EPOCHS)
    assert final["new"] == read(new, "results.json")["metrics"]["accuracy"]


def test_without_averaging_the_last_prompts_are_tested_and_saved(environment, tested):
    options = (*EVERY, "TRAINER.PROMPTSRC.GPA", "False")
    folder = run(environment, "last", options=options)
    tests = read(folder, "curves.json")["tests"]
    assert {t["prompts"] for t in tests} == {"current"}
    assert tests == [t for t in read(tested, "curves.json")["tests"] if t["prompts"] == "current"]
    averaged = learned(tested)
    assert all(not torch.equal(value, averaged[name]) for name, value in learned(folder).items())


def test_the_first_average_is_renormalised(environment, tested):
    """After one epoch the mean of the prompts is the prompts, however small their weight."""
    first = {
        (t["classes"], t["prompts"]): t["accuracy"]
        for t in read(tested, "curves.json")["tests"]
        if t["epoch"] == 1
    }
    assert first["base", "average"] == first["base", "current"]
    assert first["new", "average"] == first["new", "current"]


def test_a_resumed_run_has_the_curves_of_an_unbroken_one(environment, tested, monkeypatch):
    save = resume.save

    def save_and_die(path, state):
        save(path, state)
        if state["epoch"] == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(resume, "save", save_and_die)
    with pytest.raises(KeyboardInterrupt):
        run(environment, "broken")
    monkeypatch.undo()
    folder = run(environment, "broken")
    assert without_seconds(read(folder, "curves.json")) == (
        without_seconds(read(tested, "curves.json"))
    )
    assert read(folder, "manifest.json")["training"]["steps"] == 3 * 2


def test_losses_of_an_epoch_are_means_over_its_steps(tested):
    for epoch in read(tested, "curves.json")["epochs"]:
        parts = epoch["ce"] + 25 * epoch["l1_text"] + 10 * epoch["l1_image"] + epoch["kl"]
        assert epoch["loss"] == pytest.approx(parts, rel=1e-5)
    rates = [epoch["learning_rate"] for epoch in read(tested, "curves.json")["epochs"]]
    assert rates == pytest.approx([1e-5, 2.5e-3, 1.875e-3])


def test_class_specific_contexts_are_tested_on_their_own_classes(environment):
    options = (*EVERY, "TRAINER.COOP.CSC", "True", "TRAINER.COOP.CTX_INIT", "")
    folder = run(environment, "csc", runs.base2new_train("CoOp", "my_images", 1), options)
    assert {t["classes"] for t in read(folder, "curves.json")["tests"]} == {"base"}


def test_manifest(environment, tested):
    manifest = read(tested, "manifest.json")
    assert manifest["seed"] == 1
    assert manifest["threads"] == torch.get_num_threads()
    assert manifest["packages"]["torch"] == torch.__version__
    assert manifest["training"]["steps"] == 3 * 2
    assert manifest["training"]["seconds"] > 0
    assert manifest["peak_memory_bytes"]["process"] > 1e8
    assert manifest["config"]["OPTIM"]["MAX_EPOCH"] == 3
    assert manifest["checkpoint"] is None
    other = replace(runs.base2new_train("PromptSRC", "my_images", 2), folder="other")
    of_seed_2 = read(run(environment, "seed2", other, THREE_EPOCHS), "manifest.json")
    assert of_seed_2["digests"]["backbone"] == manifest["digests"]["backbone"]
    assert of_seed_2["digests"]["test"] == manifest["digests"]["test"]


def test_the_manifest_of_a_test_names_the_prompts(environment, tested):
    folder = run(
        environment, "tested", runs.base2new_test("PromptSRC", "my_images", 1), THREE_EPOCHS
    )
    checkpoint = read(folder, "manifest.json")["checkpoint"]
    path = next(tested.glob("*/model.pth.tar-3"))
    assert checkpoint == {"path": str(path), "sha256": file_digest(path)}
