"""The intact things: pictures, a tiny CLIP, and runs of every method on them."""

from __future__ import annotations

import json
import multiprocessing
import os
import runpy
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from dassl.config import get_cfg_default
from dassl.engine import TRAINER_REGISTRY
from filelock import FileLock
from PIL import Image

import train
import trainers
from tests import tiny_clip

from .faults import Faults

ROOT = Path(train.__file__).resolve().parent
CLASSES = ("ant", "barrel", "cougar_face", "dollar bill")
EPOCHS = 3
SETTINGS = {
    "INPUT.SIZE": "(32, 32)",
    "INPUT.TRANSFORMS": "('random_resized_crop', 'random_flip', 'normalize')",
    "USE_CUDA": "False",
    "DATASET.NUM_SHOTS": "2",
    "DATALOADER.NUM_WORKERS": "0",
    "DATALOADER.TRAIN_X.BATCH_SIZE": "4",
    "OPTIM.NAME": "sgd",
    "OPTIM.LR": "0.0025",
    "OPTIM.MAX_EPOCH": str(EPOCHS),
    "OPTIM.LR_SCHEDULER": "cosine",
    "OPTIM.WARMUP_EPOCH": "1",
    "OPTIM.WARMUP_TYPE": "constant",
}
# of a method's node, where it has them: what a tiny CLIP on a CPU can do
OF_METHODS = {
    "PREC": "fp32",
    "N_CTX": "4",
    "PROMPT_DEPTH": "2",
    "PROMPT_DEPTH_TEXT": "3",
    "PROMPT_DEPTH_VISION": "2",
    "GPA_MEAN": "2.0",
    "DESCRIPTIONS": str(ROOT / "tests/fixtures/descriptions.json"),
    "TEACHER": "zero-shot",
}
TESTS_BETWEEN = {"TEST.FINAL_MODEL": "best_val"}
# what other runs have kept of texts may differ in its last bits
WITHOUT_STORE = {"STORE.TESTS": "False", "STORE.TEXTS": "False"}


def method_settings(method: str) -> dict[str, str]:
    """The settings of a run of a registered method."""
    cfg = get_cfg_default()
    trainers.extend_cfg(cfg)
    path = ROOT / "configs/trainers" / method / "builtin.yaml"
    small = yaml.safe_load(path.read_text())["TRAINER"] if path.is_file() else {}
    own = {
        f"TRAINER.{node}.{key}": str(value)
        for node in TRAINER_REGISTRY.get(method).nodes()
        for key, value in (small.get(node, {}) | OF_METHODS).items()
        if key in cfg.TRAINER[node]
    }
    views = {"DATALOADER.K_TRANSFORMS": str(TRAINER_REGISTRY.get(method).views)}
    return SETTINGS | own | views


def learning_methods() -> list[str]:
    """Every registered method that trains; trainers of other tests may be registered too."""
    every = {name: TRAINER_REGISTRY.get(name) for name in TRAINER_REGISTRY.registered_names()}
    return [n for n, t in every.items() if issubclass(t, trainers.PromptTrainer) and t.learns]


@dataclass(frozen=True)
class World:
    """A folder with everything that trials start from; `make` fills it."""

    folder: Path

    @property
    def data(self) -> Path:
        """A data root with a miniature Caltech101."""
        return self.folder / "data"

    @property
    def caltech(self) -> Path:
        """The dataset's folder."""
        return self.data / "caltech-101"

    @property
    def backbone(self) -> Path:
        """The tiny CLIP."""
        return self.folder / "VIT-7.pt"

    def make(self) -> World:
        """Draw the pictures and write the backbone."""
        torch.set_num_threads(1)  # forks of a process that has a pool of threads hang
        self.folder.mkdir(parents=True, exist_ok=True)
        tiny_clip.write(self.folder)
        random = np.random.default_rng(0)
        split: dict[str, list] = {"train": [], "val": [], "test": []}
        for label, name in enumerate(CLASSES):
            folder = self.caltech / "101_ObjectCategories" / name
            folder.mkdir(parents=True)
            tint = random.integers(0, 256, 3)
            for index, part in enumerate(["train"] * 3 + ["val"] * 2 + ["test"] * 2):
                pixels = (random.integers(0, 256, (36, 40, 3)) + tint) // 2
                file = f"image_{index:04d}.jpg"
                Image.fromarray(pixels.astype(np.uint8)).save(folder / file)
                split[part].append([f"{name}/{file}", label, name])
        (self.caltech / "split_zhou_Caltech101.json").write_text(json.dumps(split))
        return self

    def arguments(
        self, method: str, output: Path, *flags: str, settings: Mapping[str, str] | None = None
    ) -> list[str]:
        """The arguments of train.py."""
        options = method_settings(method) | dict(settings or {})
        return [
            *("--root", str(self.data), "--seed", "1", "--trainer", method),
            *("--backbone", str(self.backbone)),
            *("--dataset-config-file", str(ROOT / "configs/datasets/caltech101.yaml")),
            *("--output-dir", str(output)),
            *flags,
            *(part for pair in options.items() for part in pair),
        ]

    def unbroken(self, method: str, settings: Mapping[str, str] | None = None) -> Path:
        """The output folder of an unbroken run, made where it is missing."""
        output = self.folder / "unbroken" / "-".join([method, *(settings or {}).values()])
        with FileLock(self.folder / "lock"):
            if not _measured(output).exists():
                self._run_unbroken(method, output, settings)
        return output

    def _run_unbroken(self, method: str, output: Path, settings: Mapping[str, str] | None) -> None:
        shutil.rmtree(output, ignore_errors=True)
        console = output.with_name(f"{output.name}.console")
        note = output.with_name(f"{output.name}.operations")
        output.parent.mkdir(parents=True, exist_ok=True)
        run = Forked(
            self.arguments(method, output, settings={**(settings or {}), **WITHOUT_STORE}),
            console,
            Faults(output, note=note).install,
        )
        status, stderr = run.wait()
        if status:
            raise RuntimeError(f"the unbroken run of {method} ended with {status}:\n{stderr}")
        operations = len(note.read_text().splitlines())
        measured = {"seconds": run.seconds, "operations": operations}
        _measured(output).write_text(json.dumps(measured))

    def measured(self, method: str, settings: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Seconds and number of file operations of the unbroken run."""
        return json.loads(_measured(self.unbroken(method, settings)).read_text())

    def last_operation(self, method: str, name: str, file: str) -> int:
        """The number of the unbroken run's last file operation of that name on that file."""
        note = self.unbroken(method).with_name(f"{method}.operations")
        operations = [(line + " ").split(" ", 2) for line in note.read_text().splitlines()]
        return max(
            int(n)
            for n, what, paths in operations
            if what == name and paths.rstrip().endswith(file)
        )


def _measured(output: Path) -> Path:
    return output.with_name(f"{output.name}.measured.json")


class Forked:
    """train.py in a fork of this process, which has everything imported: it starts in no time.

    Args:
        arguments: of train.py.
        console: a folder for stdout.txt and stderr.txt.
        prepare: called in the child before train.py starts.
    """

    def __init__(
        self, arguments: list[str], console: Path, prepare: Callable[[], object] | None = None
    ) -> None:
        console.mkdir(parents=True, exist_ok=True)
        self.console = console
        self.started = time.monotonic()
        self.pid = os.fork()
        if self.pid == 0:
            _be_train(arguments, console, prepare)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to it, unless it has ended."""
        if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            os.kill(self.pid, number)

    def wait(self) -> tuple[int, str]:
        """Its exit code (negative: the signal that ended it) and what it wrote to stderr."""
        _, status = os.waitpid(self.pid, 0)
        self.seconds = time.monotonic() - self.started
        said = self.console / "stderr.txt"
        # killed in its first moment, it had not opened it
        stderr = said.read_text(errors="replace") if said.exists() else ""
        return os.waitstatus_to_exitcode(status), stderr


def _be_train(arguments: list[str], console: Path, prepare: Callable[[], object] | None) -> None:
    status = 1
    try:
        for number, name in ((1, "stdout"), (2, "stderr")):
            file = os.open(console / f"{name}.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            os.dup2(file, number)
            stream = os.fdopen(number, "w", buffering=1, encoding="utf-8", closefd=False)
            setattr(sys, name, stream)
        sys.argv = [str(ROOT / "train.py"), *arguments]
        if prepare:
            prepare()
        runpy.run_path(sys.argv[0], run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc(file=sys.stderr)
    finally:
        for child in multiprocessing.active_children():
            child.kill()
        os._exit(status)


def learned(output: Path) -> dict[str, Any]:
    """What counts of a finished run: learned tensors, metrics and curves without times."""
    (final,) = output.glob(f"*/model.pth.tar-{EPOCHS}")
    results = json.loads((output / "results.json").read_text())
    curves = json.loads((output / "curves.json").read_text())
    for epoch in curves["epochs"]:
        del epoch["seconds"]
    best = {
        path.name: torch.load(path, weights_only=True)["state_dict"]
        for path in output.glob("*/model-best.pth.tar")
    }
    return {
        "state": torch.load(final, weights_only=True)["state_dict"],
        "best": best,
        "metrics": results["metrics"],
        "epoch": results["epoch"],
        "total": results["total"],
        "curves": curves,
    }


def same(one: Any, other: Any) -> bool:
    """Equal to the last bit and of the same types, tensors and NaN included."""
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        if one.dtype != other.dtype or one.shape != other.shape:
            return False
        return one.numpy().tobytes() == other.numpy().tobytes()
    if isinstance(one, np.ndarray):
        return one.shape == other.shape and one.tobytes() == other.tobytes()
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other or (one != one and other != other)
