"""CoPrompt's sentences, views and published keys."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch

import train
from datasets.world.sets import SETS
from prompting.errors import InputError
from trainers import coprompt, descriptions

from .conftest import Run, learned


def write(path: Path, content: object) -> str:
    path.write_text(json.dumps(content))
    return str(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"ant": ["x"]}, r"no sentences about 'sea horse'"),
        (
            {"ant": ["x", "y"], "sea horse": ["z"]},
            "2 sentences about 'ant' and 1 about 'sea horse'",
        ),
        ({"ant": "x", "sea horse": ["z"]}, "'ant' is 'x'; expected a list of sentences"),
        ({"ant": [], "sea horse": []}, "'ant' is .*expected a list of sentences"),
        ({"ant": [" "], "sea horse": ["z"]}, "'ant' is .*expected a list of sentences"),
        ({"ant": ["x"], "sea horse": ["z"], "sea_horse": ["y"]}, "has 'sea_horse' twice"),
        (["ant"], "is no object"),
    ],
)
def test_sentences_that_cannot_be_used_are_refused(
    content: object, message: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "said.json", content)
    with pytest.raises(InputError, match=message):
        descriptions.read(path, "Caltech101", ["ant", "sea_horse"], coprompt.OWN)


def test_a_folder_in_the_published_layout(tmp_path: Path) -> None:
    write(tmp_path / "dtd_prompt.json", {"lined": ["lines"], "sea horse": ["a horse"]})
    found = descriptions.read(
        str(tmp_path), "DescribableTextures", ["sea_horse", "lined"], coprompt.OWN
    )
    assert found == [["a horse"], ["lines"]]
    with pytest.raises(
        InputError, match=r"no sentences about the classes of UCF101.*ucf101_prompt"
    ):
        descriptions.read(str(tmp_path), "UCF101", ["lined"], coprompt.OWN)


@pytest.mark.parametrize("key", ["things", "flowers", "fabrics", "formations", "coloured"])
def test_the_built_in_sets_have_sentences(key: str) -> None:
    names = SETS[key].classes
    found = descriptions.read("", f"Builtin{key.capitalize()}", names, coprompt.OWN)
    assert {len(each) for each in found} == {5}
    assert len({text for each in found for text in each}) > 3 * len(names)


def test_training_without_sentences_is_refused_and_testing_is_not(run: Run, tmp_path: Path) -> None:
    nothing = {"TRAINER__COPROMPT__DESCRIPTIONS": ""}
    with pytest.raises(InputError, match="no sentences about the classes of Caltech101"):
        run("CoPrompt", "refused", **nothing)
    assert not list(tmp_path.glob("refused/*/model*"))
    trained = run("CoPrompt", "trained", OPTIM__MAX_EPOCH="1")
    run("CoPrompt", "tested", "--eval-only", "--model-dir", str(trained), **nothing)


def test_unequal_sentences_move_what_is_learned(run: Run, tmp_path: Path) -> None:
    """Neither sentences nor the weight may be without effect."""
    said = json.loads(Path("tests/fixtures/descriptions.json").read_text())
    other = write(tmp_path / "other.json", {name: [f"no {name}"] for name in said})
    once = {"OPTIM__MAX_EPOCH": "2"}
    first = learned(run("CoPrompt", "first", **once), 2)
    for index, changed in enumerate(
        ({"DESCRIPTIONS": other}, {"WEIGHT": "1"}, {"DISTILL": "mse"}), start=1
    ):
        options = {f"TRAINER__COPROMPT__{key}": value for key, value in changed.items()}
        end = learned(run("CoPrompt", f"other{index}", **once, **options), 2)
        assert not torch.equal(end["prompt_learner.ctx"], first["prompt_learner.ctx"]), changed


def test_the_frozen_clip_sees_the_second_view(build) -> None:
    trainer = build("CoPrompt")
    trainer.set_model_mode("train")
    first, second = torch.randn(2, 4, 3, 32, 32)
    labels = torch.arange(4)

    def parts(*views: torch.Tensor) -> dict:
        random.seed(0)
        return trainer.compute_loss(*trainer.parse_batch_train({"img": views, "label": labels}))[1]

    here, there = parts(first, second), parts(first, -second)
    assert here["ce"] == there["ce"]
    assert here["consistency_text"] == there["consistency_text"]
    assert here["consistency_image"] != there["consistency_image"]
    assert parts(-first, second)["ce"] != here["ce"]


def test_two_views_come_as_a_list_or_as_entries(build) -> None:
    trainer = build("CoPrompt")
    views, label = list(torch.randn(2, 4, 3, 32, 32)), torch.arange(4)
    listed, _ = trainer.parse_batch_train({"img": views, "label": label})
    named, _ = trainer.parse_batch_train({"img": views[0], "img2": views[1], "label": label})
    for one, other, view in zip(listed, named, views, strict=True):
        assert torch.equal(one, view)
        assert torch.equal(other, view)


def test_published_keys_are_ours() -> None:
    arguments = ["TRAINER.W", "3", "TRAINER.CoPrompt.N_CTX", "4", "TRAINER.DISTILL", "mse"]
    cfg = train.configure(train.parse_arguments(["--trainer", "CoPrompt", *arguments]))
    node = cfg.TRAINER.COPROMPT
    assert (node.WEIGHT, node.N_CTX, node.DISTILL) == (3.0, 4, "mse")
