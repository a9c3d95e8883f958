"""Results of runs that nobody ran: what a run leaves in its folder, with given accuracies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from protocols.published import settings
from protocols.published.runs import Run

CONFIG = {"TRAINER": {"PROMPTSRC": {"GPA_MEAN": 15, "GPA_STD": 1}}, "OPTIM": {"MAX_EPOCH": 20}}


def write_run(
    output: Path,
    run: Run,
    accuracy: float,
    config: dict[str, Any] | None = None,
    losses: tuple[float, ...] = (),
) -> Path:
    """The results.json of a run, and its curves where losses are given; returns the folder."""
    folder = output / run.folder
    folder.mkdir(parents=True)
    options = dict(zip(run.options[::2], run.options[1::2], strict=True))
    content = {
        "trainer": run.method,
        "dataset": settings.dataset_names()[run.dataset],
        "classes": options["DATASET.SUBSAMPLE_CLASSES"],
        "split": "test",
        "seed": run.seed,
        "metrics": {"accuracy": accuracy},
        "config": {**CONFIG, "SEED": run.seed, **(config or {})},
    }
    (folder / "results.json").write_text(json.dumps(content))
    if losses:
        epochs = [{"epoch": number, "loss": loss} for number, loss in enumerate(losses, start=1)]
        (folder / "curves.json").write_text(json.dumps({"epochs": epochs, "tests": []}))
    return folder
