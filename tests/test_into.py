"""The trainers in another's project: its own train.py, dataset, `datasets` and `trainers` packages."""

from __future__ import annotations

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from dassl.config import get_cfg_default
from PIL import Image
from yacs.config import CfgNode

import trainers
from tests import tiny_clip

ROOT = Path(__file__).parents[1]
PUBLISHED = set((ROOT / "configs/trainers").glob("*/published.yaml"))  # data, no configuration

TRAIN = """
import argparse
from yacs.config import CfgNode
from dassl.config import get_cfg_default
from dassl.engine import TRAINER_REGISTRY, build_trainer
from dassl.utils import set_random_seed, setup_logger
import datasets.squares
import trainers.coop

def extend_cfg(cfg):
    cfg.TRAINER.COOP = CfgNode({"WIDTH": 8})
    cfg.DATASET.SUBSAMPLE_CLASSES = "all"

parser = argparse.ArgumentParser()
for flag in ("--root", "--output-dir", "--trainer", "--backbone", "--config-file", "--model-dir"):
    parser.add_argument(flag, default="")
parser.add_argument("--seed", type=int, default=-1)
parser.add_argument("--eval-only", action="store_true")
parser.add_argument("opts", nargs=argparse.REMAINDER)
args = parser.parse_args()
cfg = get_cfg_default()
extend_cfg(cfg)
cfg.merge_from_file(args.config_file)
cfg.DATASET.ROOT, cfg.OUTPUT_DIR, cfg.SEED = args.root, args.output_dir, args.seed
cfg.TRAINER.NAME, cfg.MODEL.BACKBONE.NAME = args.trainer, args.backbone
cfg.DATASET.NAME = "Squares"
cfg.merge_from_list(args.opts)
cfg.freeze()
set_random_seed(cfg.SEED)
setup_logger(cfg.OUTPUT_DIR)
print("CoOp is of", TRAINER_REGISTRY.get("CoOp").__module__, datasets.__file__)
trainer = build_trainer(cfg)
if args.eval_only:
    trainer.load_model(args.model_dir)
    trainer.test()
else:
    trainer.train()
"""
DATASET = """
from pathlib import Path
from dassl.data.datasets import DATASET_REGISTRY, Datum, DatasetBase

@DATASET_REGISTRY.register()
class Squares(DatasetBase):
    def __init__(self, cfg):
        names = ["red", "green", "blue", "grey"]
        items = [
            Datum(str(path), names.index(path.stem.split("_")[0]), classname=path.stem.split("_")[0])
            for path in sorted(Path(cfg.DATASET.ROOT).glob("*.png"))
        ]
        super().__init__(train_x=items[::2], test=items[1::2])
"""
TRAINER = """
from dassl.engine import TRAINER_REGISTRY, TrainerX

@TRAINER_REGISTRY.register()
class CoOp(TrainerX):
    pass
"""
OPTIONS = {
    "INPUT.SIZE": "(32, 32)",
    "DATALOADER.NUM_WORKERS": "0",
    "OPTIM.MAX_EPOCH": "16",
    "TRAINER.PROMPTSRC.PREC": "fp32",
    "TRAINER.PROMPTSRC.PROMPT_DEPTH_VISION": "3",
    "TRAINER.PROMPTSRC.PROMPT_DEPTH_TEXT": "3",
    "TRAINER.PROMPTSRC.TEACHER_TEMPLATES": "2",
}
EPOCHS = int(OPTIONS["OPTIM.MAX_EPOCH"])


def into(*arguments: str | Path) -> subprocess.CompletedProcess:
    command = ["bash", str(ROOT / "scripts/into.sh"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Another's project, with pictures."""
    folder = tmp_path / "project"
    for name, text in {
        "train.py": TRAIN,
        "datasets/__init__.py": "",
        "datasets/squares.py": DATASET,
        "trainers/__init__.py": "",
        "trainers/coop.py": TRAINER,
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "data").mkdir()
    colours = {"red": (200, 0, 0), "green": (0, 200, 0), "blue": (0, 0, 200), "grey": (99, 99, 99)}
    for name, colour in colours.items():
        for number in range(4):
            Image.new("RGB", (40, 36 + number), colour).save(folder / f"data/{name}_{number}.png")
    return folder


def with_the_lines(code: str, printed: str) -> str:
    """A train.py with the two printed lines where they are said to go."""
    first, second = re.findall(r"^    (\S.*)$", printed, re.M)
    code = re.sub(r"(?m)\A(.*\nimport [^\n]*\n)", rf"\1{first}\n", code, flags=re.S)
    return re.sub(r"(def extend_cfg.*?\n)\n", rf"\1    {second}\n\n", code, flags=re.S)


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_a_trainer_in_another_project_trains_goes_on_and_tests(project: Path) -> None:
    before = files(project)
    done = into(project)
    assert done.returncode == 0, done.stderr
    assert before.items() <= files(project).items()
    (project / "train.py").write_text(with_the_lines(TRAIN, done.stdout))
    config = next(project.glob("configs/prompt_trainers/PromptSRC/*ep20*4ctx.yaml"))
    command = [
        *(sys.executable, "-W", "ignore", "train.py", "--root", "data", "--seed", "1"),
        *("--trainer", "PromptSRC", "--backbone", str(tiny_clip.write(project))),
        *("--config-file", str(config)),
    ]
    options = [part for pair in OPTIONS.items() for part in pair]
    # nothing of this checkout but its engine, which stands for the project's Dassl
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "engine")}

    def run(output: str, *more: str) -> str:
        words = [*command, "--output-dir", output, *more, *options]
        finished = subprocess.run(
            words, cwd=project, env=environment, capture_output=True, text=True
        )
        assert finished.returncode == 0, finished.stdout + finished.stderr
        return finished.stdout

    def learned(output: str) -> dict[str, torch.Tensor]:
        (path,) = (project / output).glob(f"*/model.pth.tar-{EPOCHS}")
        return torch.load(path, weights_only=True)["state_dict"]

    printed = run("unbroken")
    assert f"CoOp is of trainers.coop {project}" in printed
    assert "--trainer CoOp is the project's own, of trainers.coop" in printed
    broken = subprocess.Popen(
        [*command, "--output-dir", "broken", *options],
        cwd=project,
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    while not list(project.glob("broken/*/resume.pth")) and broken.poll() is None:
        time.sleep(0.01)
    broken.send_signal(signal.SIGKILL)
    assert broken.wait() == -signal.SIGKILL
    assert "Resuming from" in run("broken")
    for name, value in learned("unbroken").items():
        assert torch.equal(learned("broken")[name], value), name
    tested = run("tested", "--eval-only", "--model-dir", "broken")
    result = re.compile(r"\* (?:total|correct|accuracy).*")
    assert result.findall(tested) == result.findall(printed) != []


def test_what_is_there_is_never_overwritten(project: Path) -> None:
    (project / "prompting").mkdir()
    (project / "prompting/theirs.py").write_text("")
    before = files(project)
    done = into(project)
    assert done.returncode == 2
    assert f"{project} already has prompting; nothing was copied" in done.stderr
    assert files(project) == before
    shutil.rmtree(project / "prompting")
    assert into(project).returncode == 0
    again = into(project)
    assert again.returncode == 2
    assert "prompting prompt_trainers configs/prompt_trainers" in again.stderr


def test_the_script_says_how_it_is_called(tmp_path: Path) -> None:
    assert "usage: bash scripts/into.sh PROJECT" in into("--help").stdout
    for arguments in ([], [tmp_path / "nothing"]):
        done = into(*arguments)
        assert done.returncode == 2
        assert "usage:" in done.stderr
    assert f"there is no folder {tmp_path / 'nothing'}" in done.stderr


def test_what_is_imported_is_documented() -> None:
    (documented,) = re.findall(
        r"Beside Dassl.*? needs (.*?)\.\n", (ROOT / "docs/dassl.md").read_text()
    )
    named = set(re.findall(r"`([\w-]+)`", documented.replace("pyyaml", "yaml")))
    rooms = [*(ROOT / "prompting").rglob("*.py"), *(ROOT / "trainers").rglob("*.py")]
    own = {path.stem for path in (ROOT / "engine").glob("*.py")} | {"prompting", "dassl"}
    imported = set()
    for path in [*rooms, *(ROOT / "engine").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add(node.module.partition(".")[0])
    assert imported - own - set(sys.stdlib_module_names) <= named


@pytest.mark.parametrize(
    "path",
    sorted(set((ROOT / "configs/trainers").glob("*/*.yaml")) - PUBLISHED),
    ids=lambda p: f"{p.parent.name}-{p.stem}",
)
def test_configurations_merge_by_the_strict_rules_of_yacs(path: Path) -> None:
    """Which train.py of others uses: 25 is not 25.0 there."""
    cfg: CfgNode = get_cfg_default()
    trainers.extend_cfg(cfg)
    cfg.merge_from_file(str(path))
