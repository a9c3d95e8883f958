"""The scripts: found, documented, clean, and one of them through bash to the end."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from dassl.engine import TRAINER_REGISTRY

import trainers  # noqa: F401 (registers the methods)
from datasets.world.sets import SETS
from protocols.launch import SCRIPTS, scripts_of
from protocols.published import runs
from tests.protocols.small import make_environment

ROOT = Path(__file__).resolve().parent.parent
METHODS = ("promptsrc", "ivlp", "coop", "cocoop", "zsclip")  # of PromptSRC's repository
SHORT = ["OPTIM.MAX_EPOCH", "1", "DATASET.NUM_SHOTS", "1", "DATALOADER.NUM_WORKERS", "0"]
CLASSES = SETS["things"].classes[:12], SETS["flowers"].classes[:12]
SENTENCES = "configs/trainers/CoPrompt/descriptions/builtin_flowers_prompt.json"
FILES = sorted((ROOT / "scripts").glob("*/*.sh"))


def bash(script, *arguments, **variables):
    python = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    return subprocess.run(
        ["bash", str(script), *arguments],
        env={**os.environ, "PATH": python, **variables},
        capture_output=True,
        text=True,
    )


def test_shellcheck_finds_nothing():
    shellcheck = shutil.which("shellcheck", path=Path(sys.executable).parent)
    if not shellcheck:
        pytest.skip("shellcheck is not installed: pip install -r requirements-dev.txt")
    scripts = sorted(map(str, (ROOT / "scripts").rglob("*.sh")))
    found = subprocess.run([shellcheck, "-x", *scripts], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout


def test_the_published_scripts_are_there():
    names = {path.relative_to(ROOT / "scripts").as_posix() for path in FILES}
    everywhere = ("base2new_train", "base2new_test", "reproduce_base2novel_setting")
    published = {f"{m}/{s}.sh" for m in METHODS[:-1] for s in everywhere}
    published |= {
        f"{m}/{s}.sh"
        for m in ("promptsrc", "coop", "cocoop")
        for s in ("xd_train", "xd_test", "few_shot", "reproduce_xd", "reproduce_few_shot")
    }
    published |= {f"promptsrc/{s}_all.sh" for s in ("base2new", "xd", "few_shot", "ablation")}
    published |= {f"coop/{s}.sh" for s in ("main", "eval", "zeroshot")} | {"zsclip/zeroshot.sh"}
    ivlp = ("base2new_train_ivlp", "base2new_test_ivlp", "reproduce_ivlp")
    published |= {f"independent-vlp/{s}.sh" for s in ivlp}
    maple = ("base2new_train", "base2new_test", "reproduce", "xd_train", "xd_test")
    published |= {f"maple/{s}_maple.sh" for s in maple} | {"maple/reproduce_maple_xd.sh"}
    published |= {"kgcoop/base2new_train.sh", "kgcoop/xd_train.sh"}
    published |= {f"prograd/{s}.sh" for s in ("prograd", "base2new_train_prograd", "eval")}
    published |= {f"coprompt/base2new_{s}_coprompt.sh" for s in ("train", "test")}
    published |= {f"lpclip/{s}.sh" for s in ("feat_extractor", "linear_probe")}
    mmrl = ("base2new_train", "base2new_test", "cross_datasets_train", "cross_datasets_test")
    published |= {f"mmrl/{s}.sh" for s in (*mmrl, "few_shot")}
    published |= {f"promptkd/{s}.sh" for s in ("base2new_train", "base2new_test", "xd_train")}
    assert published <= names


def words_of(script):
    """Names of the method and the script that a file stands for."""
    return re.findall(r"^\s*launch (\w+) (\w+)", script.read_text(), re.M)[-1]


def launched_by(script):
    """Method and script that a file stands for."""
    method, name = words_of(script)
    return method, scripts_of(method)[name]


def stands_for(script, *names):
    """Whether a file stands for one of the common scripts."""
    return launched_by(script)[1].make in [SCRIPTS[name].make for name in names]


@pytest.mark.parametrize("script", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_script_explains_itself(script):
    shown = bash(script, "--help")
    assert shown.returncode == 0, shown.stderr
    assert "usage: " in shown.stdout
    if not is_table(script):
        arguments = launched_by(script)[1].arguments
        assert " ".join(arguments) in " ".join(shown.stdout.split())
        documented = script.read_text().splitlines()[1].rpartition(f"{script.name} ")[2]
        assert len(documented.split()) == len(arguments)


@pytest.mark.parametrize(
    "words", [("promptsrc/base2new_train.sh",), ("run.sh", "IVLP", "base2new_train")]
)
def test_a_first_run_averages_over_the_papers_seeds(words, tmp_path):
    """What is asked for is shown by a Python in whose place nothing runs."""
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\ncase "$*" in *protocols.run*) {sys.executable} "$@" --list;; esac\n'
    )
    python.chmod(0o755)
    script, *rest = words
    for seeds, expected in (("", {1, 2, 3}), ("2", {2})):
        shown = subprocess.run(
            ["bash", str(ROOT / "scripts" / script), *rest],
            env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "SEEDS": seeds},
            capture_output=True,
            text=True,
        )
        assert shown.returncode == 0, shown.stderr
        folders = [line for line in shown.stdout.splitlines() if "ZeroshotCLIP" not in line]
        assert {int(folder[-1]) for folder in folders} == expected


def test_train_and_test_through_bash(tmp_path):
    environment = make_environment(tmp_path)
    variables = {
        "DATA": str(environment.data),
        "OUTPUT": str(environment.output),
        "BACKBONE": environment.backbone,
    }
    options = [*environment.options, "OPTIM.MAX_EPOCH", "1"]
    scripts = ROOT / "scripts/promptsrc"

    def run(name, *more):
        arguments = ("my_images", "1", *options, *more)
        return bash(scripts / f"base2new_{name}.sh", *arguments, **variables)

    trained, tested = run("train"), run("test")
    assert trained.returncode == tested.returncode == 0, trained.stderr + tested.stderr
    assert "running on the CPU in fp32" in trained.stdout or "CUDA" not in trained.stdout
    assert "Finish training" in trained.stdout
    folders = {
        part: environment.output
        / f"base2new/{part}/my_images/shots_16/PromptSRC/vit_b16_c2_ep20_batch4_4+4ctx/seed1"
        for part in ("train_base", "test_new")
    }
    totals = {
        part: json.loads((folder / "results.json").read_text())["total"]
        for part, folder in folders.items()
    }
    assert totals == {"train_base": 3 * 4, "test_new": 2 * 4}
    again = run("train")
    assert again.returncode == 0
    assert "kept" in again.stdout
    other = run("train", "OPTIM.LR", "0.5")
    assert other.returncode == 2
    assert "OPTIM.LR was 0.0025 and is 0.5" in other.stderr


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A data root with a few pictures of two built-in sets: things as Caltech101, flowers as one's own.
    Reading whole sets would take longer than all else that the scripts do."""
    root = tmp_path_factory.mktemp("pictures")
    images, split = root / "caltech-101/101_ObjectCategories", {"train": [], "val": [], "test": []}
    parts = ["train"] * 2 + ["val"] + ["test"] * 4
    for label, (thing, flower) in enumerate(zip(*CLASSES, strict=True)):
        (images / thing).mkdir(parents=True)
        for index, part in enumerate(parts):
            path = f"{thing}/{index}.png"
            SETS["things"].draw(label, index).save(images / path)
            split[part].append([path, label, thing])
            folder = root / "flowers" / part / flower
            folder.mkdir(parents=True, exist_ok=True)
            SETS["flowers"].draw(label, index).save(folder / f"{index}.png")
    (root / "caltech-101/split_zhou_Caltech101.json").write_text(json.dumps(split))
    return root


def variables_of(pictures, output):
    """Of scripts on these pictures, with the built-in CLIP."""
    folders = {"DATA": str(pictures), "OUTPUT": str(output)}
    return {**folders, "CFG": "builtin", "SEEDS": "1", "SOURCE": "caltech101"}


def give_weights(folder, output, method):
    """Lay a script's own runs out as published weights are."""
    given = {
        "base": runs.base2new_train(method, "my_images", 1, "builtin"),
        "": runs.cross_dataset_train(method, "caltech101", 1, "builtin"),
        "1shot": runs.few_shot(method, "my_images", 1, 1, "builtin"),
    }
    for link, run in given.items():
        (folder / link).mkdir(parents=True, exist_ok=True)
        (folder / link / "seed1").symlink_to(output / run.folder)


def folders():
    """The folders of scripts whose methods have a trainer, those of the same scripts once."""
    tried, names = set(), []
    for name in dict.fromkeys(path.parent.name for path in FILES):
        scripts = [path for path in FILES if path.parent.name == name and is_single(path)]
        launched = {" ".join(words_of(path)) for path in scripts}
        if (
            launched
            and words_of(scripts[0])[0] in TRAINER_REGISTRY.registered_names()
            and launched - tried
        ):
            names.append(name)
            tried |= launched
    return names


def is_single(script):
    """Whether a script has no other script's run to be there, and makes no whole table."""
    taught = script.parent.name == "promptkd"
    return not (taught or script.stem == "eval" or is_table(script))


def is_table(script):
    """Whether a script stands for all runs of a table."""
    return re.search(r"^\s*table ", script.read_text(), re.M)


@pytest.mark.slow
@pytest.mark.parametrize("method", folders())
def test_every_script_of_a_method_on_built_in_pictures(method, tmp_path, pictures):
    """Through bash, in the order of use: one epoch of one shot each. What they learn is then given
    to the scripts that reproduce."""
    trained, reproduced, weights = (tmp_path / name for name in ("output", "again", "weights"))
    values = {"SEED": "1", "SHOTS": "1", "CONFIG": "builtin", "CTP": "end", "NCTX": "4"}
    values |= {"CSC": "False", "WEIGHTS": str(weights), "WEIGHT": "8.0", "EXP": "x", "EPOCH": "1"}
    options = [*SHORT, "DATASET.DIR", str(pictures / "flowers")]
    options += ["TRAINER.COPROMPT.DESCRIPTIONS", str(ROOT / SENTENCES)]
    scripts = [path for path in FILES if path.parent.name == method and is_single(path)]
    trains = ("base2new_train", "xd_train", "few_shot")
    scripts.sort(key=lambda path: ("reproduce" in path.stem, not stands_for(path, *trains)))
    for script in scripts:
        output = reproduced if "reproduce" in script.stem else trained
        if output == reproduced and not weights.exists():
            give_weights(weights, trained, launched_by(script)[0])
        variables = variables_of(pictures, output)
        dataset = "caltech101" if stands_for(script, "xd_train") else "my_images"
        words = [{**values, "DATASET": dataset}[name] for name in launched_by(script)[1].arguments]
        before = set(output.rglob("results.json"))
        finished = bash(script, *words, *options, **variables)
        assert finished.returncode == 0, finished.stdout + finished.stderr
        new = set(output.rglob("results.json")) - before
        shared = script.stem == "zeroshot"  # its run is that of xd_test, and kept
        assert new or (shared and "kept" in finished.stdout), f"{script} left no result"
        for path in new:
            assert json.loads(path.read_text())["metrics"]["accuracy"] > 33  # chance is 17 and 8


@pytest.mark.slow
def test_a_student_is_taught_by_a_teacher_that_is_trained_first(tmp_path, pictures):
    variables = variables_of(pictures, tmp_path)
    options = [*SHORT, "DATASET.DIR", str(pictures / "flowers")]
    folder = ROOT / "scripts/promptkd"
    refused = bash(folder / "base2new_train.sh", "my_images", "1", *options, **variables)
    assert refused.returncode == 2
    assert "--with-teacher to train it first" in refused.stderr
    for script, *flags in (["base2new_train", "--with-teacher"], ["base2new_test"]):
        words = ["my_images", "1", *flags, *options]
        finished = bash(folder / f"{script}.sh", *words, **variables)
        assert finished.returncode == 0, finished.stdout + finished.stderr
    # the teacher on the base classes; the student, from images of all classes, on both halves
    results = [json.loads(path.read_text()) for path in tmp_path.rglob("results.json")]
    assert {(each["trainer"], each["classes"]) for each in results} == {
        ("PromptSRC", "base"),
        ("PromptKD", "base"),
        ("PromptKD", "new"),
    }


@pytest.mark.slow
def test_the_evaluation_of_few_shot_contexts_on_another_dataset(tmp_path, pictures):
    variables = variables_of(pictures, tmp_path)
    options = [*SHORT, "DATASET.DIR", str(pictures / "flowers")]
    form = ["builtin", "end", "16", "16", "False"]
    scripts = ROOT / "scripts/coop"
    assert bash(scripts / "main.sh", "caltech101", *form, *options, **variables).returncode == 0
    finished = bash(scripts / "eval.sh", "my_images", "builtin", *options, **variables)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    context = "nctx16_cscFalse_ctpend"
    folder = tmp_path / f"evaluation/CoOp/builtin_16shots/{context}/my_images/seed1"
    assert (folder / "results.json").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("table", ["base2new", "xd", "few_shot", "ablation"])
def test_every_table_on_built_in_data(table, tmp_path, world):
    datasets = ["builtin_flowers", *(["builtin_things_sketch"] if table == "xd" else [])]
    words = ["--datasets", *datasets, "--seeds", "1", "--shots", "1", "--config", "builtin"]
    words += ["--threads", "1", "--options", *SHORT]
    variables = {"DATA": str(world), "OUTPUT": str(tmp_path)}
    finished = bash(ROOT / f"scripts/promptsrc/{table}_all.sh", *words, **variables)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    rows = {name: [] for name in datasets}  # a dataset that is not of a table has a "-" there
    header: list[str] = []
    for line in finished.stdout.splitlines():
        cells = re.split(r"  +", line)
        if line.startswith("method "):  # a column a dataset
            header = cells
        elif line.startswith("PromptSRC ") and header:
            found = dict(zip(header, cells, strict=True))
            for name in datasets:
                rows[name] += [float(found[name])] if found[name] != "-" else []
        elif line.startswith(tuple(datasets)) and not line.endswith("-"):
            rows[line.split()[0].strip(",")].append(float(line.split()[-1]))
    assert {len(values) for values in rows.values()} == {4 if table == "ablation" else 1}
    assert min(min(values) for values in rows.values()) > 12  # chance is 8 at most


@pytest.mark.slow
def test_the_scripts_of_the_linear_probe(tmp_path, world):
    """The first encodes the test images, which the second finds."""
    words = ["--datasets", "builtin_flowers", "--threads", "1"]
    variables = {"DATA": str(world), "OUTPUT": str(tmp_path / "output"), "CFG": "builtin"}
    variables["PROMPT_CACHE"] = str(tmp_path / "cache")
    scripts = ROOT / "scripts/lpclip"

    def run(name, *more):
        finished = bash(scripts / name, *words, *more, **variables)
        assert finished.returncode == 0, finished.stdout + finished.stderr
        return finished.stdout

    run("feat_extractor.sh")
    shown = run("linear_probe.sh", "--seeds", "1", "--shots", "4")
    assert "builtin_flowers  LinearProbeCLIP" in shown
    folder = tmp_path / "output/builtin_flowers/LinearProbeCLIP"

    def read(shots, name):
        return json.loads((folder / f"builtin_{shots}shots/seed1/{name}.json").read_text())

    one, four = (read(shots, "results")["metrics"] for shots in (1, 4))
    assert 12 < one["accuracy"] < four["accuracy"]  # chance is 8
    first, second = (read(shots, "manifest")["frozen_features"]["tests"] for shots in (1, 4))
    others = 2 * 12  # an image a class to train on and one to choose by
    assert second["read"] >= first["computed"] - others > others
