"""A method that is dropped into a copy of the project is found by being there, and disturbs nobody."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from protocols.published import runs
from protocols.published.settings import ROOT
from tests.protocols.small import execute, make_environment

TRAINER = '''
"""Near: CoOp whose context is also kept small."""

from dassl.engine import TRAINER_REGISTRY

from .coop import CoOp


@TRAINER_REGISTRY.register()
class Near(CoOp):
    """CoOp + WEIGHT * mean square of the context."""

    node = "NEAR"
    defaults = {**CoOp.defaults, "CTX_INIT": "a photo of a", "WEIGHT": 0.1}

    def compute_loss(self, images, labels):
        loss, parts = super().compute_loss(images, labels)
        size = sum(p.square().mean() for p in self.model.prompt_learner.parameters())
        return loss + self.options.WEIGHT * size, {**parts, "size": size}
'''


def copy_of_the_project(folder: Path) -> Path:
    """The checkout in a folder of its own, with copies of what is added to and of what finds it."""
    copied = ("train.py", "trainers", "configs", "protocols")
    folder.mkdir()
    for path in ROOT.iterdir():
        if path.name in copied:
            copy = shutil.copytree if path.is_dir() else shutil.copy
            copy(path, folder / path.name)
        elif not path.name.startswith(".") and path.name not in ("data", "output"):
            (folder / path.name).symlink_to(path)
    return folder


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Finished runs of another method."""
    environment = make_environment(tmp_path_factory.mktemp("runs"))
    execute(runs.base2new_train("CoOp", "my_images", 1), environment)
    execute(runs.base2new_test("CoOp", "my_images", 1), environment)
    return environment


def call(tree, environment, *words):
    """A command in the copy, with its own code; returns what it printed."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    variables = {
        **{"DATA": str(environment.data), "OUTPUT": str(environment.output), "PATH": path},
        **{"BACKBONE": environment.backbone, "PREC": "fp32"},
        "PYTHONPATH": os.pathsep.join((str(tree), os.environ.get("PYTHONPATH", ""))),
    }
    done = subprocess.run(
        words, cwd=tree, env={**os.environ, **variables}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_new_method_runs_by_script_and_sweep_and_others_stay_finished(environment, tmp_path):
    tree = copy_of_the_project(tmp_path / "tree")
    (tree / "trainers/near.py").write_text(TRAINER)
    missing = subprocess.run(
        [sys.executable, "-m", "protocols.run", "base2new", "--methods", "near", "--list"],
        cwd=tree,
        capture_output=True,
        text=True,
    )
    assert missing.returncode == 2
    assert "Near has a file, trainers/near.py, but no folder" in missing.stderr
    (tree / "configs/trainers/Near").mkdir()
    builtin = (tree / "configs/trainers/CoOp/builtin.yaml").read_text()
    (tree / "configs/trainers/Near/only.yaml").write_text(builtin.replace("COOP", "NEAR"))

    options = environment.options
    script = ["bash", "scripts/run.sh", "Near", "base2new_train", "my_images", "1", *options]
    assert "Finish training" in call(tree, environment, *script)
    folder = environment.output / "base2new/train_base/my_images/shots_16/Near/only/seed1"
    assert (folder / "results.json").is_file()

    sweep = [sys.executable, "-W", "ignore", "-m", "protocols.run", "base2new", "--report"]
    sweep += ["--methods", "CoOp", "Near", "--datasets", "my_images", "--seeds", "1"]
    sweep += ["--options", *options]
    said = call(tree, environment, *sweep)
    assert said.count("CoOp/vit_b16_ctxv1/seed1: kept") == 2
    assert said.count("Near/only/seed1: kept") == 1
    assert said.count("Near/only/seed1: done") == 1
    rows = [line.split() for line in said.splitlines() if line.startswith("my_images")]
    assert [row[1] for row in rows] == ["CoOp", "Near"]
    assert all(len(row) == 5 for row in rows)  # base, new, H

    # a further option of that method, and another default of an old one
    changed = TRAINER.replace('"WEIGHT": 0.1}', '"WEIGHT": 0.2, "POWER": 2}')
    (tree / "trainers/near.py").write_text(changed)
    said = call(tree, environment, *sweep, "TRAINER.NEAR.WEIGHT", "0.1")
    assert said.count(": kept") == 4
