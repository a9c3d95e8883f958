"""Configurations, folders and arguments of the papers' runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from dassl.engine import TRAINER_REGISTRY

import train
from protocols.published import methods, runs, settings
from protocols.published.runs import Environment, table_runs
from protocols.published.settings import UsageError

DEEP = "vit_b16_c2_ep20_batch4_4+4ctx"
HERE = Environment(Path("/data"), Path("/out"))


@pytest.mark.parametrize(
    ("run", "folder"),
    [
        (
            runs.base2new_train("PromptSRC", "dtd", 2),
            f"base2new/train_base/dtd/shots_16/PromptSRC/{DEEP}/seed2",
        ),
        (
            runs.base2new_test("CoOp", "imagenet", 1),
            "base2new/test_new/imagenet/shots_16/CoOp/vit_b16_ep50_ctxv1/seed1",
        ),
        (
            runs.cross_dataset_train("PromptSRC", "imagenet", 1),
            f"imagenet/PromptSRC/{DEEP}_cross_datasets_16shots/seed1",
        ),
        (
            runs.cross_dataset_test("CoCoOp", "imagenet", "dtd", 3),
            "evaluation/CoCoOp/vit_b16_c4_ep10_batch1_ctxv1_16shots/dtd/seed3",
        ),
        (
            runs.few_shot("CoOp", "dtd", 4, 1),
            "dtd/CoOp/vit_b16_ep100_4shots/nctx16_cscFalse_ctpend/seed1",
        ),
        (runs.zero_shot("ZeroshotCLIP", "dtd"), "ZeroshotCLIP/vit_b16/dtd"),
        (
            runs.few_shot_test("PromptSRC", "dtd", 8, 1, "w"),
            "few_shot/dtd/PromptSRC/vit_b16_c2_ep50_batch4_4+4ctx_few_shot_8shots/seed1",
        ),
    ],
)  # fmt: skip
def test_published_output_folders(run, folder):
    assert run.folder == folder


@pytest.mark.parametrize(
    ("shots", "dataset", "epochs"),
    [(1, "dtd", 50), (2, "dtd", 100), (4, "dtd", 100), (8, "dtd", 200), (16, "imagenet", 50)],
)
def test_epochs_of_few_shot_coop(shots, dataset, epochs):
    assert runs.few_shot("CoOp", dataset, shots, 1).epochs() == epochs


@pytest.mark.parametrize(
    ("dataset", "gaussian"), [("sun397", (30, 30)), ("eurosat", (45, 5)), ("my_images", (30, 30))]
)
def test_few_shot_averaging_depends_on_the_dataset(dataset, gaussian):
    run = runs.few_shot("PromptSRC", dataset, 1, 1)
    cfg = train.configure(train.parse_arguments(run.arguments(HERE)))
    node = cfg.TRAINER.PROMPTSRC
    assert gaussian == (node.GPA_MEAN, node.GPA_STD)
    assert any("30/30" in note for note in run.notes) == (dataset == "my_images")


def test_a_test_loads_the_last_epoch_of_its_training_run():
    run = runs.base2new_test("PromptSRC", "dtd", 1)
    arguments = run.arguments(HERE)
    assert f"--model-dir=/out/{runs.base2new_train('PromptSRC', 'dtd', 1).folder}" in arguments
    assert "--load-epoch=20" in arguments
    short = Environment(Path("d"), Path("o"), options=("OPTIM.MAX_EPOCH", "3"))
    assert "--load-epoch=3" in run.arguments(short)


def with_settings(protocol):
    """The registered methods that the papers give a configuration for a protocol."""
    if protocol == "ablation":
        return []
    shots = settings.FEW_SHOTS if protocol == "few_shot" else [settings.SHOTS]

    def has(name):
        try:
            return all(methods.find(name).setting(protocol, "dtd", count) for count in shots)
        except UsageError:
            return False

    return [n for n in methods.names() if n in TRAINER_REGISTRY.registered_names() and has(n)]


def test_every_run_of_every_table_has_a_configuration_that_merges():
    for protocol in settings.PROTOCOLS:
        planned = table_runs(protocol, with_settings(protocol), ["all"])
        assert len({run.folder for run in planned}) == len(planned)
        sources = {run.source for run in planned if run.source}
        assert sources <= set(planned)
        for run in {(r.method, r.config, r.options): r for r in planned}.values():
            cfg = train.configure(train.parse_arguments(run.arguments(HERE)))
            assert run.method == cfg.TRAINER.NAME
            assert run.seed == cfg.SEED


def test_sizes_of_the_tables():
    assert len(table_runs("base2new", ["PromptSRC"], ["all"])) == 11 * 3 * 2
    assert len(table_runs("cross_dataset", ["PromptSRC"], ["all"])) == 3 * (1 + 10)
    assert len(table_runs("domain_generalization", ["PromptSRC"], ["all"])) == 3 * (1 + 4)
    assert len(table_runs("few_shot", ["PromptSRC"], ["all"])) == 11 * 5 * 3
    assert len(table_runs("base2new", ["ZeroshotCLIP"], ["all"])) == 11 * 2
    assert len(table_runs("ablation", [], ["all"])) == 4 * 11 * 3 * 2


def test_the_ablation_shares_its_ends_with_base_to_new():
    """IVLP and PromptSRC are trained once for both tables; what lies between has its own folders."""
    ablation = table_runs("ablation", [], ["dtd"])
    whole = set(table_runs("base2new", ["IVLP", "PromptSRC"], ["dtd"]))
    between = [run for run in ablation if run not in whole]
    assert set(ablation) - set(between) == whole
    assert {run.options[-2:] for run in between} == {("TRAINER.PROMPTSRC.TEACHER_TEMPLATES", "1")}
    without_average = [run for run in between if "TRAINER.PROMPTSRC.GPA" in run.options]
    assert len(without_average) == len(between) / 2
    assert len({run.folder for run in ablation}) == len(ablation)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("base2nw", ["PromptSRC"], ["dtd"]), "'base2new'"),
        (("base2new", ["PromtSRC"], ["dtd"]), "'PromptSRC'"),
        (("base2new", ["PromptSRC"], ["dtdd"]), "'dtd'"),
        (("base2new", ["PromptSRC"], ["dtd", "DescribableTextures"]), "twice"),
        (("base2new", ["PromptSRC"], ["dtd"], [1, 1]), "seed 1 is given twice"),
        (("base2new", ["PromptSRC"], ["dtd"], [0]), "start at 1"),
        (("few_shot", ["IVLP"], ["dtd"]), "no published configuration"),
        (("base2new", ["CoOp"], ["dtd"], [1], [16], "vit_b61"), "'vit_b16'"),
    ],
)
def test_what_does_not_exist_is_refused_with_the_nearest(arguments, says):
    with pytest.raises(UsageError, match=says):
        [run.arguments(HERE) for run in table_runs(*arguments)]


def test_all_methods_are_those_that_have_the_configuration():
    builtin = table_runs("base2new", ["all"], ["dtd"], [1], config="builtin")
    serving = {name for name in methods.names() if methods.find(name).serves("base2new")}
    assert {run.method for run in builtin} == serving
    published = {run.method for run in table_runs("few_shot", ["all"], ["dtd"], [1], [4])}
    assert {"CoOp", "ZeroshotCLIP"} <= published < set(methods.names())
    assert "IVLP" not in published  # its paper has no few-shot results
