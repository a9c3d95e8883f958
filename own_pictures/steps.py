"""The steps from a folder of pictures to a classifier; each prints what it found."""

from __future__ import annotations

import os
import re
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from dassl.engine import TRAINER_REGISTRY
from tabulate import tabulate
from tqdm import tqdm
from yacs.config import CfgNode

from datasets import check
from inference import Classifier, export
from inference.evaluation import Evaluation, evaluate
from inference.inspect import FOLDER as INSPECTED
from inference.inspect import write_page
from inference.inspection import inspect_run
from inference.listing import read_classes
from inference.sections import classes_table, percent
from prompting.backbone import load_clip
from prompting.builtin import BUILTIN
from prompting.errors import InputError
from protocols import records
from protocols.execution.single_run import finished, started
from protocols.published import methods, runs, settings
from protocols.published.runs import Environment, Run
from protocols.published.settings import UsageError
from train import configure, parse_arguments
from trainers import templates
from trainers.pictures import dataset_of

from .machine import ENCODERS, choose

DATASET = "my_images"
(BUILTIN_CLIP,) = BUILTIN
SEED = 1
SHOWN = 30
"""Classes in a table on the screen."""
_PROGRESS = re.compile(r"epoch \[(\d+)/(\d+)\] batch \[(\d+)/(\d+)\].* loss (\S+) .*eta (\S+)")


@dataclass(frozen=True)
class Plan:
    """What will be trained.

    Attributes:
        run, environment: as `protocols` executes them.
        cfg: the configuration of the run.
        dataset: its pictures.
    """

    run: Run
    environment: Environment
    cfg: CfgNode
    dataset: Any

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.environment.output / self.run.folder


def check_pictures(folder: Path, classes_file: Path | None) -> dict[str, str]:
    """Look the pictures over; returns the options of the dataset.

    Raises:
        InputError: they cannot be used; names the first flaw, after all have been printed.
    """
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}: give the folder that holds the pictures")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise InputError(f"there is no permission to read {folder}: ask its owner")
    options = {"DATASET.DIR": str(folder)}
    if classes_file:
        labels = Counter(line.split(maxsplit=1)[0] for line in read_classes(classes_file))
        if twice := [label for label, count in labels.items() if count > 1]:
            raise InputError(f"{classes_file} names {twice[0]!r} twice: keep one line")
        options["DATASET.CLASSNAMES"] = str(classes_file)
    print(f"Checking the pictures in {folder}", flush=True)
    report = check.check_pictures(str(folder), "", True, options.get("DATASET.CLASSNAMES", ""))
    for remark in report.remarks:
        print(remark)
    if report.problems:
        first, *others = report.problems
        more = f" (and {len(others)} more: {' '.join(others)})" if others else ""
        raise InputError(f"{first}{more} {' '.join(report.next_steps)}")
    print("{} classes; {} pictures to train, {} to validate, {} to test".format(*report.counts))
    return options


def plan(
    pictures: dict[str, str],
    method: str,
    shots: int,
    output: Path,
    backbone: str,
    precision: str,
    options: Sequence[str],
) -> Plan:
    """Choose configuration, CLIP and precision, and say which and why.

    Raises:
        InputError: the method needs more than pictures, or a CLIP that is here; nothing can be written.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    root = output / "own_pictures" / Path(pictures["DATASET.DIR"]).name
    _check_writable(root)
    run = _run_of(method, shots, backbone == BUILTIN_CLIP)
    given = tuple(part for pair in pictures.items() for part in pair)

    def made(name: str, kind: str) -> Plan:
        size = ENCODERS[name][0] if name in ENCODERS else load_clip(name).resolution
        own = replace(run, folder=f"{method}_{_slug(name)}_{shots}shots")
        sized = ("INPUT.SIZE", f"({size}, {size})")
        environment = Environment(Path(), root, name, kind, (*sized, *given, *options))
        cfg = configure(parse_arguments(own.arguments(environment)))
        return Plan(own, environment, cfg, dataset_of(cfg))

    candidates = [backbone] if backbone else list(ENCODERS)
    if device.type == "cuda":
        candidates = candidates[:1]
    for name in candidates:
        begun = made(name, "fp32")
        if kept := _precision_of(begun):
            print(f"CLIP: {name}; precision: {precision or kept} (the run in {begun.folder})")
            return made(name, precision or kept)

    def count_steps(name: str) -> int:
        there = made(name, "fp32")
        batches = len(there.dataset.train_x) // there.cfg.DATALOADER.TRAIN_X.BATCH_SIZE
        return there.cfg.OPTIM.MAX_EPOCH * max(1, batches)

    print(f"Measuring this machine ({device.type})", flush=True)
    chosen = choose(candidates, precision, count_steps, device)
    print("\n".join(chosen.reasons))
    return made(chosen.backbone, chosen.precision)


def _run_of(method: str, shots: int, builtin: bool) -> Run:
    config = os.environ.get("CFG", "") or (settings.BUILTIN if builtin else "")
    try:
        run = runs.few_shot(method, DATASET, shots, SEED, config)
    except UsageError:
        config = methods.find(method).setting("base2new", DATASET).config
        print(
            f"{method} has no published few-shot setting: that of base-to-new is taken ({config})"
        )
        run = runs.few_shot(method, DATASET, shots, SEED, config)
    if run.teacher:
        raise InputError(
            f"{method} learns from a {run.teacher.method} that is trained first: use `bash "
            f"scripts/run.sh {method} few_shot {DATASET} {shots} --with-teacher DATASET.DIR FOLDER`"
        )
    return run


def _check_writable(folder: Path) -> None:
    there = next(each for each in (folder, *folder.parents) if each.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise InputError(
            f"{folder} cannot be written: {there} is no folder, or there is no permission to write in "
            "it. OUTPUT=FOLDER names another place"
        )


def _slug(backbone: str) -> str:
    return re.sub(r"[^\w.]+", "-", Path(backbone).stem if os.path.exists(backbone) else backbone)


def _precision_of(begun: Plan) -> str:
    """The precision of a run that has begun, which goes on in it; "" where there is none."""
    path = begun.folder / records.CONFIG_FILE
    if not path.is_file():
        return ""
    node = TRAINER_REGISTRY.get(begun.run.method).node
    return str(records.read(path).get("TRAINER", {}).get(node, {}).get("PREC", ""))


def show_zero_shot(plan: Plan) -> Evaluation:
    """Print what CLIP knows without training."""
    template, names = templates.of_dataset(plan.cfg.DATASET.NAME), plan.dataset.classnames
    backbone, precision = plan.environment.backbone, plan.environment.precision
    clip = Classifier.zero_shot(backbone, names, template, precision=precision)
    found = evaluate(clip, plan.dataset.test, names, progress=True)
    print(
        f'Zero-shot CLIP, asked "{template}": {percent(found.accuracy)}% of {len(found.paths)} test '
        "pictures right",
        flush=True,
    )
    return found


def train(plan: Plan) -> None:
    """Train, unless that is done, with a bar that shows the time left.

    Raises:
        InputError: train.py refused, for the reason that it gave.
    """
    if finished(plan.run, plan.environment) is not None:
        print(f"Kept: the training in {plan.folder} is finished")
        return
    options = plan.cfg.OPTIM
    print(
        f"Training {plan.run.method} on {len(plan.dataset.train_x)} pictures, {options.MAX_EPOCH} "
        f"epochs (all that it says: {plan.folder / 'log.txt'})",
        flush=True,
    )
    with (
        started(plan.run, plan.environment, subprocess.PIPE) as process,
        tqdm(desc="training", unit="step", disable=None) as bar,
    ):
        said = _follow(process, bar)
    if process.returncode:
        reason = next((line for line in reversed(said) if line.startswith("error: ")), "")
        raise InputError(
            reason.removeprefix("error: ")
            or f"the training ended with status {process.returncode}: {' '.join(said[-3:])}"
        )


def _follow(process: subprocess.Popen, bar: tqdm) -> list[str]:
    """Show what train.py prints as progress until it ends; returns its last lines."""
    said: list[str] = []
    tenths = 0
    for raw in process.stdout:
        line = raw.decode("utf-8", "replace").rstrip()
        said = [*said[-19:], line] if line else said
        if not (found := _PROGRESS.search(line)):
            continue
        epoch, epochs, batch, batches = map(int, found.groups()[:4])
        bar.total = epochs * batches
        bar.set_postfix(loss=found[5], refresh=False)
        bar.update((epoch - 1) * batches + batch - bar.n)
        done = (epoch - 1) * batches + batch
        if bar.disable and 10 * done // bar.total > tenths:  # no terminal: a line now and then
            tenths = 10 * done // bar.total
            print(f"  epoch {epoch} of {epochs}, loss {found[5]}, {found[6]} left", flush=True)
    process.wait()
    return said


def show_both(plan: Plan, before: Evaluation) -> Path:
    """Print the accuracy by class before and after, and write the page; returns it."""
    found = inspect_run(plan.folder, before=before, progress=True)
    table = classes_table(found)
    rows = [*table.rows]
    if len(rows) > SHOWN:
        print(f"The first {SHOWN} of {len(rows)} classes:")
    after = found.test.accuracy
    total = ("all", len(before.paths), *map(percent, (before.accuracy, after)))
    rows = [*rows[:SHOWN], (*total, percent(after - before.accuracy, "+"))]
    print(f"\n{tabulate(rows, table.headers, disable_numparse=True)}")
    if after < before.accuracy:
        print(
            "Trained is worse than zero-shot CLIP here: give more pictures a class, better class names "
            "(--classes-file), or use zero-shot CLIP (python predict.py --zero-shot)"
        )
    return write_page(found, plan.folder / INSPECTED)


def share(plan: Plan) -> Path:
    """Write the file to share, and return it."""
    path = plan.folder.with_name(f"{plan.folder.name}.safetensors")
    export.write_prompts(plan.folder, path)
    return path
