"""The steps from a folder of pictures to a classifier; each prints what it found."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from pathlib import Path

from tabulate import tabulate
from tqdm import tqdm

from datasets import check
from datasets.folders import read_lines
from inference import Classifier, export
from inference.evaluation import Evaluation, evaluate
from inference.inspect import FOLDER as INSPECTED
from inference.inspect import write_page
from inference.inspection import inspect_run
from inference.sections import classes_table, percent
from prompting.errors import InputError
from protocols.execution.progress import last_progress
from protocols.execution.single_run import finished, started
from trainers import templates

from .planning import Plan

SHOWN = 30
"""Classes in a table on the screen."""


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
        if not read_lines(str(classes_file)):
            raise InputError(
                f"{classes_file} holds no class names: write lines LABEL readable name"
            )
        options["DATASET.CLASSNAMES"] = str(classes_file)
    print(f"Checking the pictures in {folder}", flush=True)
    report = check.check_pictures(str(folder), "", True, options.get("DATASET.CLASSNAMES", ""))
    for remark in report.remarks:
        print(remark)
    if report.problems:
        first, *others = report.problems
        more = f" (and {len(others)} more: {' '.join(others)})" if others else ""
        raise InputError(f"{first}{more} {' '.join(report.next_steps)}")
    if report.counts[0] == "1":
        raise InputError(
            f"{folder} holds one class, and a classifier needs two: add a folder with pictures of what "
            "else there may be"
        )
    print("{} classes; {} pictures to train, {} to validate, {} to test".format(*report.counts))
    return options


def show_zero_shot(plan: Plan) -> Evaluation:
    """Print what CLIP knows without training."""
    template, names = templates.of_dataset(plan.cfg.DATASET.NAME), plan.dataset.classnames
    backbone, precision = plan.environment.backbone, plan.environment.precision
    activation = plan.cfg.MODEL.BACKBONE.ACTIVATION
    clip = Classifier.zero_shot(
        backbone, names, template, precision=precision, activation=activation
    )
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
    options, items = plan.cfg.OPTIM, plan.dataset.train_x
    counts = Counter(item.classname for item in items)
    fewest = min(counts, key=counts.__getitem__)
    print(
        f"Training {plan.run.method} on {len(items)} pictures, at least {counts[fewest]} a class "
        f"({fewest}), {options.MAX_EPOCH} epochs (all that it says: {plan.folder / 'log.txt'})",
        flush=True,
    )
    with (
        started(plan.run, plan.environment, subprocess.PIPE, plan.threads) as process,
        tqdm(desc="training", unit="step", disable=None) as bar,
    ):
        said = follow(process, bar)
    if process.returncode:
        reason = next((line for line in reversed(said) if line.startswith("error: ")), "")
        raise InputError(
            reason.removeprefix("error: ")
            or f"the training ended with status {process.returncode}: {' '.join(said[-3:])}"
        )


def follow(process: subprocess.Popen, bar: tqdm) -> list[str]:
    """Show what train.py prints as progress until it ends; returns its last lines."""
    said: list[str] = []
    tenths = 0
    for raw in process.stdout:
        line = raw.decode("utf-8", "replace").rstrip()
        said = [*said[-19:], line] if line else said
        if not (at := last_progress(line)):
            continue
        bar.total = at.steps
        bar.set_postfix(loss=at.loss, refresh=False)
        bar.update(at.steps_done - bar.n)
        # no terminal: a line now and then
        if bar.disable and 10 * at.steps_done // at.steps > tenths:
            tenths = 10 * at.steps_done // at.steps
            print(f"  epoch {at.epoch} of {at.epochs}, loss {at.loss}, {at.left} left", flush=True)
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
