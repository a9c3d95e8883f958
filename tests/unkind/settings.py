"""Settings that cannot be meant, given to whole runs, in new folders and in finished ones."""

from __future__ import annotations

import json
import math
import os
import resource
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import torch
from dassl.engine import TRAINER_REGISTRY

import train

from .judging import is_clear
from .mutations import flat
from .trials import Kind, Outcome, Verdict
from .world import Forked, World, learning_methods

MEMORY = 8 * 2**30
"""Bytes that a run may map; a setting must not take the machine along."""

VALUES: Mapping[type, tuple[str, ...]] = {
    int: (
        *("0", "-1", "-7", "2.5", "3.0", "nan", "inf", "x", "", "None", "True", "[1]"),
        *("1e308", "10000000000", "9" * 30, "1000000000"),
    ),
    float: (
        "0",
        "-1",
        "1",
        "nan",
        "inf",
        "-inf",
        "1e400",
        "1e308",
        "1e38",
        "1e-300",
        "x",
        "",
        "None",
        "(1,)",
        "True",
    ),
    str: (
        "",
        " ",
        "x",
        "0",
        "{}",
        "{} {}",
        "{0}",
        "{",
        "}",
        "é",
        "\ud800",
        "a " * 300,
        "../x",
        "None",
    ),
    bool: ("x", "2", "None", "1", "", "true", "[True]"),
    tuple: (
        "()",
        "(1,)",
        "x",
        "(-1, -1)",
        "(0, 0)",
        "5",
        "((),)",
        "[nan]",
        "('x',)",
        "(2.5, 2)",
        "None",
    ),
    list: ("[]", "[1]", "x", "[0, 0, 0]", "[nan, 1, 1]", "5", "['x']", "[1, 2, 3, 4]", "None"),
}
# not settings of an experiment, or not possible to try here
LEFT_OUT = (
    "OUTPUT_DIR",
    "RESUME",
    "DATASET.ROOT",
    "TRAINER.NAME",
    "DATASET.NAME",
    "MODEL.BACKBONE.NAME",
)


def _below(least: float) -> Callable[[Any], bool]:
    return lambda value: not (isinstance(value, (int, float)) and value >= least)


# accepted, these are wrong whatever comes out
IMPOSSIBLE: Mapping[str, Callable[[Any], bool]] = {
    "OPTIM.MAX_EPOCH": _below(1),
    "OPTIM.LR": _below(0),
    "OPTIM.WEIGHT_DECAY": _below(0),
    "TRAIN.PRINT_FREQ": _below(1),
    "DATALOADER.TRAIN_X.BATCH_SIZE": _below(1),
    "DATALOADER.TEST.BATCH_SIZE": _below(1),
    # the default gives way to the size of the backbone
    "INPUT.SIZE": lambda value: tuple(value) not in ((32, 32), (224, 224)),
    "INPUT.PIXEL_MEAN": lambda value: len(value) != 3,
    "INPUT.PIXEL_STD": lambda value: len(value) != 3 or not all(v > 0 for v in value),
    "MODEL.INIT_WEIGHTS": bool,
    "TEST.SPLIT": lambda value: value not in ("test", "val"),
    "TEST.FINAL_MODEL": lambda value: value not in ("last_step", "best_val"),
    "DATASET.SUBSAMPLE_CLASSES": lambda value: value not in ("all", "base", "new"),
    "TRAINER.PROMPTSRC.GPA_STD": lambda value: not value > 0,
    "TRAINER.PROMPTSRC.TEXT_LOSS_WEIGHT": _below(0),
    "TRAINER.PROMPTSRC.IMAGE_LOSS_WEIGHT": _below(0),
}


@dataclass
class Settings(Kind):
    """One setting of a run changed to something strange."""

    name: str = "settings"
    share: float = 2.0
    limit: float = 60.0

    def set_up(self, world: World, folder: Path) -> None:
        self.world = world
        self.methods = learning_methods()

    def try_one(self, random: Random, folder: Path) -> Verdict:
        method = random.choice(self.methods)
        output = folder / "output"
        if into_finished := random.random() < 0.3:
            shutil.copytree(self.world.unbroken(method), output)
        arguments = self.world.arguments(method, output)
        key, value = self._choose(random, method, arguments)
        (folder / "setting.txt").write_text(f"{method} {key} {value!a}\n")
        before = _snapshot(output)
        console = folder / "console"
        run = Forked([*arguments, key, value], console, partial(_limit, console))
        status, stderr = run.wait()
        what = f"{method} with {key} {value!a:.60}"
        if status == 2 and is_clear(stderr):
            began = "the loss is" in stderr  # what becomes of numbers shows in training
            return self._judge_refusal(what, before, output, began)
        if status:
            return Verdict(Outcome.RAW, f"{what} ended with {status}:\n{stderr[-1500:]}")
        return self._judge_result(what, key, output, into_finished)

    def _choose(self, random: Random, method: str, arguments: list[str]) -> tuple[str, str]:
        cfg = train.configure(train.parse_arguments(arguments))
        defaults = dict(flat(cfg))
        # those of a method that does not run change nothing
        nodes = tuple(f"TRAINER.{node}." for node in TRAINER_REGISTRY.get(method).nodes())
        keys = [
            key
            for key in defaults
            if key not in LEFT_OUT and (not key.startswith("TRAINER.") or key.startswith(nodes))
        ]
        of_method = [key for key in keys if key.startswith("TRAINER.")]
        impossible = [key for key in keys if key in IMPOSSIBLE]
        key = random.choice(random.choice((keys, of_method, impossible)))
        values = VALUES[type(defaults[key])]
        if key in ("OPTIM.MAX_EPOCH", "DATALOADER.NUM_WORKERS"):
            values = values[:-1]  # a billion of these would be legitimate, and long
        return key, random.choice(values)

    def _judge_refusal(
        self, what: str, before: dict[str, bytes], output: Path, began: bool
    ) -> Verdict:
        after = _snapshot(output)
        if not began and "curves.json" not in after and after != before:
            left = sorted(after.keys() ^ before.keys()) or "changed files"
            return Verdict(Outcome.SILENT, f"{what} was refused, but leaves {left}")
        if any(after.get(name) != content for name, content in before.items()):
            return Verdict(
                Outcome.SILENT, f"{what} was refused, and changed the finished run's files"
            )
        return Verdict(Outcome.REFUSED)

    def _judge_result(self, what: str, key: str, output: Path, into_finished: bool) -> Verdict:
        if key == "TEST.NO_TEST" and not (output / "results.json").exists():
            return Verdict(Outcome.RIGHT)
        results = json.loads((output / "results.json").read_text())
        value = dict(flat(results["config"]))[key]
        if key in IMPOSSIBLE and IMPOSSIBLE[key](value):
            return Verdict(Outcome.SILENT, f"{what} was accepted as {value!r}")
        if not all(map(math.isfinite, _numbers(value))):
            return Verdict(Outcome.SILENT, f"{what} was accepted as {value!r}")
        if not all(map(math.isfinite, results["metrics"].values())):
            return Verdict(Outcome.SILENT, f"{what} gave {results['metrics']}")
        for path in output.glob("*/model.pth.tar-*"):
            state = torch.load(path, weights_only=True)["state_dict"]
            if not all(tensor.isfinite().all() for tensor in state.values()):
                return Verdict(Outcome.SILENT, f"{what} gave prompts that are not finite")
        return Verdict(Outcome.RIGHT)


def _numbers(value: Any) -> list[float]:
    values = value if isinstance(value, (list, tuple)) else [value]
    return [v for v in values if isinstance(v, float)]


def _snapshot(output: Path) -> dict[str, bytes]:
    """Files without locks."""
    return {
        str(path.relative_to(output)): path.read_bytes()
        for path in output.rglob("*")
        if path.is_file() and not path.name.endswith(".lock")
    }


def _limit(folder: Path) -> None:
    """Keep memory within MEMORY, and what a relative path names within a folder."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    os.chdir(folder)
