"""What will be trained: configuration, CLIP and precision for pictures, a method and this machine."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from dassl.engine import TRAINER_REGISTRY
from yacs.config import CfgNode

from prompting.builtin import BUILTIN
from prompting.errors import InputError
from protocols import records
from protocols.published import methods, runs, settings
from protocols.published.runs import Environment, Run
from protocols.published.settings import UsageError
from train import configure, parse_arguments
from trainers.pictures import dataset_of

from .machine import ENCODERS, choose

DATASET = "my_images"
(BUILTIN_CLIP,) = BUILTIN
SEED = 1


@dataclass(frozen=True)
class Plan:
    """A training.

    Attributes:
        run, environment: as `protocols` executes them.
        cfg: the configuration.
        dataset: the pictures.
    """

    run: Run
    environment: Environment
    cfg: CfgNode
    dataset: Any

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.environment.output / self.run.folder

    @property
    def threads(self) -> int | None:
        """Threads of the training; None for the usual number. The small CLIP gains from one alone."""
        return 1 if self.environment.backbone == BUILTIN_CLIP else None

    @property
    def steps(self) -> int:
        """Of the whole training."""
        batches = len(self.dataset.train_x) // self.cfg.DATALOADER.TRAIN_X.BATCH_SIZE
        return self.cfg.OPTIM.MAX_EPOCH * max(1, batches)


@dataclass(frozen=True)
class Wish:
    """What was asked for.

    Attributes:
        pictures: options of the dataset.
        method: the trainer's name.
        shots: training pictures a class.
        output: the root of the output folders.
        config: a configuration of the method; "" for the published one.
        backbone, precision: "" for those that suit the machine.
        options: further KEY VALUE pairs.
    """

    pictures: Mapping[str, str]
    method: str
    shots: int
    output: Path
    config: str = ""
    backbone: str = ""
    precision: str = ""
    options: Sequence[str] = ()

    @property
    def root(self) -> Path:
        """The folder of all runs on these pictures."""
        return self.output / "own_pictures" / Path(self.pictures["DATASET.DIR"]).name


def make_plan(wish: Wish) -> Plan:
    """Choose what was not asked for, and say which and why. A run that has begun goes on as it began.

    Raises:
        InputError: the method needs more than pictures, there is no such CLIP, or nothing can be
            written.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    _check_writable(wish.root)
    run = _run_of(wish)
    candidates = [wish.backbone] if wish.backbone else list(ENCODERS)
    if device.type == "cuda":
        candidates = candidates[:1]
    for name in candidates:
        folder = wish.root / _folder(wish, name)
        if kept := _precision_in(folder, wish.method):
            precision = wish.precision or kept
            print(f"CLIP: {name}, precision: {precision}, as in the run in {folder}")
            return _plan(wish, run, name, precision)
    print(f"Measuring this machine ({device.type})", flush=True)
    chosen = choose(
        candidates, wish.precision, lambda name: _plan(wish, run, name, "").steps, device
    )
    print("\n".join(chosen.reasons), flush=True)
    return _plan(wish, run, chosen.backbone, chosen.precision)


def _plan(wish: Wish, run: Run, backbone: str, precision: str) -> Plan:
    pictures = (part for pair in wish.pictures.items() for part in pair)
    options = (*pictures, *wish.options)
    environment = Environment(Path(), wish.root, backbone, precision, options)
    own = replace(run, folder=_folder(wish, backbone))
    cfg = configure(parse_arguments(own.arguments(environment)))
    return Plan(own, environment, cfg, dataset_of(cfg))


def _folder(wish: Wish, backbone: str) -> str:
    name = Path(backbone).stem if os.path.exists(backbone) else backbone
    slug = re.sub(r"[^\w.]+", "-", name)
    return f"{wish.method}_{slug}_{wish.shots}shots"


def _run_of(wish: Wish) -> Run:
    config = wish.config or (settings.BUILTIN if wish.backbone == BUILTIN_CLIP else "")
    try:
        run = runs.few_shot(wish.method, DATASET, wish.shots, SEED, config)
    except UsageError:
        if config:
            raise
        config = methods.find(wish.method).setting("base2new", DATASET).config
        print(f"{wish.method} has no published few-shot setting: that of base-to-new is taken")
        run = runs.few_shot(wish.method, DATASET, wish.shots, SEED, config)
    if run.teacher:
        raise InputError(
            f"{wish.method} learns from a {run.teacher.method} that is trained first: choose another "
            f"--method, or train both by `bash scripts/run.sh {wish.method} base2new_train {DATASET} 1 "
            "--with-teacher DATASET.DIR FOLDER`"
        )
    return run


def _check_writable(folder: Path) -> None:
    there = next(each for each in (folder, *folder.parents) if each.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise InputError(
            f"{folder} cannot be written: {there} is no folder, or there is no permission to write in "
            "it. OUTPUT=FOLDER names another place"
        )


def _precision_in(folder: Path, method: str) -> str:
    """The precision of a run that has begun; "" where there is none."""
    path = folder / records.CONFIG_FILE
    if not path.is_file():
        return ""
    try:
        options = records.read(path)["TRAINER"][TRAINER_REGISTRY.get(method).node]
        return str(options["PREC"])
    except (records.RecordError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged: move {folder} away, and start again") from error
