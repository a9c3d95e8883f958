"""The overview of published figures: what it is made of, and that the documents show it as it is."""

from __future__ import annotations

import re
import shlex

import pytest
from dassl.engine import TRAINER_REGISTRY

import train
import trainers  # noqa: F401 (registers the methods)
from protocols import launch, overview
from protocols.published import methods
from protocols.published.runs import Environment
from protocols.published.settings import ROOT, UsageError
from tests.trainers.conftest import LEARNING

PAGE = (ROOT / "docs/methods.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("document", overview.blocks())
def test_the_documents_show_the_overview_as_it_is(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    stale = "run `python -m protocols.overview --write`"
    assert overview.fill(text, overview.blocks()[document]) == text, stale


def test_a_document_without_marks_is_refused():
    with pytest.raises(UsageError, match="0 places between <!-- here -->"):
        overview.fill("<!-- here -->\nno end", {"here": "table"})


def test_every_method_is_in_one_table_and_those_that_saw_test_images_in_their_own():
    tables = [
        [row["method"] for row in overview.full_rows(transductive, {})]
        for transductive in (False, True)
    ]
    served = [name for name in methods.names() if methods.find(name).serves("base2new")]
    assert sorted(tables[0] + tables[1]) == sorted(served)
    assert tables[1] == ["PromptKD"]


def test_a_row_says_what_made_its_figures():
    rows = {row["method"]: row for row in overview.full_rows(False, {})}
    ran = "run by the authors of"
    assert rows["CoOp"]["made with"] == (
        f"ViT-B/16, 16 shots, 200 epochs, imagenet 50; {ran} CoCoOp"
    )
    # neither another backbone's epochs nor another method's are theirs
    for name in ("ProGrad", "DePTPromptSRC"):
        assert "16 shots, epochs not published" in rows[name]["made with"]
    assert rows["DePTIVLP"]["made with"] == "not published"
    assert (rows["TCP"]["base"], rows["TCP"]["new"], rows["TCP"]["H"]) == (
        *("84.13", "75.36"),
        "79.51",
    )
    (taught,) = overview.full_rows(True, {})
    assert "all training images, 20 epochs" in taught["made with"]
    assert taught["saw"].startswith("no labels; ")


def test_costs_stand_beside_those_of_the_baseline(tmp_path):
    columns = "step_seconds_50_equal_batch,step_seconds_500_equal_batch,peak_memory_50_equal_batch"
    path = tmp_path / "costs.csv"
    path.write_text(
        f"method,learned_parameters,{columns}\nCoOp,2048,0.5,2,1e9\nMMRL,4992256,1,3,2e9\n"
    )
    costs = overview.read_costs(path)
    rows = {row["method"]: row for row in overview.full_rows(False, costs)}
    assert rows["MMRL"]["learned numbers"] == "4,992,256"
    assert rows["MMRL"]["step"] == "2.00 / 1.50"
    assert rows["CoOp"]["step"] == "1.00 / 1.00"
    assert rows["MMRL"]["memory"] == "-"  # of 500 classes nothing is known
    assert rows["TCP"]["learned numbers"] == rows["TCP"]["step"] == "-"
    assert overview.read_costs(tmp_path / "nowhere.csv") == {}


def test_notes_name_the_datasets_that_they_are_of():
    notes = methods.find("PromptKD").notes("base2new", ["dtd", "sun397"])
    assert sum("best on the test images" in note for note in notes) == 1
    assert any(note.startswith("KD_WEIGHT 200 for dtd is") for note in notes)
    (table,) = methods.find("CoPrompt").notes("base2new", ["dtd", "sun397"])
    assert "for each dataset are those of a table" in table


@pytest.mark.parametrize("method", LEARNING)
def test_every_method_has_a_section(method):
    module = __import__(TRAINER_REGISTRY.get(method).__module__, fromlist=["__doc__"])
    name = re.split(r":| \(", module.__doc__)[0]
    assert f"\n## {name}\n" in PAGE


def test_the_commands_of_the_page_are_understood(monkeypatch):
    """Every script exists, and what it is given merges."""
    (block,) = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    inline = re.findall(r"`((?:\w+=\S+ )*bash scripts/[^`]+)`", PAGE)
    lines = [*block.replace("\\\n", " ").splitlines(), *inline]
    assert len(lines) == 4
    for line in lines:
        words = shlex.split(line)
        variables = dict(word.split("=") for word in words[: words.index("bash")])
        monkeypatch.setenv("CFG", variables.get("CFG", ""))
        script, given, pairs, _ = launch.parse(words[words.index("bash") + 1 :])
        (run,) = script.runs(given)
        environment = Environment(ROOT / "data", ROOT / "output", options=pairs)
        cfg = train.configure(train.parse_arguments(run.arguments(environment)))
        assert given.method == cfg.TRAINER.NAME
