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

from protocols import runs, settings
from protocols.launch import SCRIPTS
from tests.protocols.small import make_environment

ROOT = Path(__file__).resolve().parent.parent
METHODS = ("promptsrc", "ivlp", "coop", "cocoop", "zsclip")
FILES = sorted(path for name in METHODS for path in (ROOT / "scripts" / name).glob("*.sh"))


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
    published |= {"coop/main.sh", "zsclip/zeroshot.sh"}
    assert published <= names


def launched_by(script):
    return SCRIPTS[re.findall(r"^\s*launch\w* \w+ (\w+)", script.read_text(), re.M)[-1]]


@pytest.mark.parametrize("script", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_script_explains_itself(script):
    shown = bash(script, "--help")
    assert shown.returncode == 0, shown.stderr
    assert "usage: " in shown.stdout
    if "_all" not in script.name:
        arguments = launched_by(script).arguments
        assert " ".join(arguments) in " ".join(shown.stdout.split())
        documented = script.read_text().splitlines()[1]
        assert len(re.findall(r"\b[A-Z]{3,}\b", documented.partition(".sh")[2])) == len(arguments)


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
    assert other.returncode == 1
    assert "OPTIM.LR was 0.0025 and is 0.5" in other.stderr


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data root that all scripts draw their built-in pictures into, once."""
    return tmp_path_factory.mktemp("data")


def give_weights(folder, output, method):
    """Lay a script's own runs out as published weights are."""
    given = {
        "base": runs.base2new_train(method, "builtin_flowers", 1, "builtin"),
        "": runs.cross_dataset_train(method, "builtin_things", 1, "builtin"),
        "1shot": runs.few_shot(method, "builtin_flowers", 1, 1, "builtin"),
    }
    for link, run in given.items():
        (folder / link).mkdir(parents=True, exist_ok=True)
        (folder / link / "seed1").symlink_to(output / run.folder)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_every_script_of_a_method_on_built_in_data(method, tmp_path, data):
    """Through bash, in the order of use: one epoch of one shot each. What they learn is then given
    to the scripts that reproduce."""
    trained, reproduced, weights = (tmp_path / name for name in ("output", "again", "weights"))
    values = {"SEED": "1", "SHOTS": "1", "CONFIG": "builtin", "CTP": "end", "NCTX": "4"}
    values |= {"CSC": "False", "WEIGHTS": str(weights)}
    options = ["OPTIM.MAX_EPOCH", "1", "DATASET.NUM_SHOTS", "1", "DATALOADER.NUM_WORKERS", "0"]
    scripts = [path for path in FILES if path.parent.name == method and "_all" not in path.name]
    scripts.sort(key=lambda path: ("reproduce" in path.stem, "train" not in path.stem))
    for script in scripts:
        output = reproduced if "reproduce" in script.stem else trained
        if output == reproduced and not weights.exists():
            give_weights(weights, trained, settings.find_method(method))
        variables = {"DATA": str(data), "OUTPUT": str(output), "CFG": "builtin", "SEEDS": "1"}
        dataset = "builtin_things" if script.stem == "xd_train" else "builtin_flowers"
        words = [{**values, "DATASET": dataset}[name] for name in launched_by(script).arguments]
        before = set(output.rglob("results.json"))
        finished = bash(script, *words, *options, **variables)
        assert finished.returncode == 0, finished.stdout + finished.stderr
        new = set(output.rglob("results.json")) - before
        shared = script.stem == "zeroshot"  # its run is that of xd_test, and kept
        assert new or (shared and "kept" in finished.stdout), f"{script} left no result"
        for path in new:
            assert json.loads(path.read_text())["metrics"]["accuracy"] > 12  # chance is 8 and 4


@pytest.mark.slow
@pytest.mark.parametrize("table", ["base2new", "xd", "few_shot", "ablation"])
def test_every_table_on_built_in_data(table, tmp_path, data):
    datasets = ["builtin_flowers", *(["builtin_things_sketch"] if table == "xd" else [])]
    words = ["--datasets", *datasets, "--seeds", "1", "--shots", "1", "--config", "builtin"]
    words += ["--threads", "1", "--options", "OPTIM.MAX_EPOCH", "1", "DATASET.NUM_SHOTS", "1"]
    words += ["DATALOADER.NUM_WORKERS", "0"]
    variables = {"DATA": str(data), "OUTPUT": str(tmp_path)}
    finished = bash(ROOT / f"scripts/promptsrc/{table}_all.sh", *words, **variables)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    rows = {name: [] for name in datasets}  # a dataset that is not of a table has a "-" there
    for line in finished.stdout.splitlines():
        if line.startswith(tuple(datasets)) and not line.endswith("-"):
            rows[line.split()[0].strip(",")].append(float(line.split()[-1]))
    assert {len(values) for values in rows.values()} == {4 if table == "ablation" else 1}
    assert min(min(values) for values in rows.values()) > 12  # chance is 8 at most
