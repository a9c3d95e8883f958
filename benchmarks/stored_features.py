"""What the store of frozen features saves: a training step and a test, without it, filling it, full.

    python -m benchmarks.stored_features                     # ViT-B/16 size, 50 classes, minutes
    python -m benchmarks.stored_features --threads 1 --steps 5

Real trainers on pictures on disk. Steps without the store and steps that fill it take turns, and the
least of each is taken; seconds are those of the clock and, in brackets, of the processor, which
do not hold what others did meanwhile. Weights are random, of ViT-B/16 size.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from dassl.engine import build_trainer
from PIL import Image
from tabulate import tabulate

import train
from prompting.builtin import BUILTIN
from prompting.feature_store import FeatureStore

from . import measure, subject

CLASSES, BATCH = 50, 32
FIRST, SECOND = "CoOp", "KgCoOp"
CONFIGS = {FIRST: "CoOp/vit_b16_ctxv1", SECOND: "KgCoOp/vit_b16_ep100_ctxv1"}
ENCODED = 100
"""Test images that are encoded for the rate; the rest of them would take as long each."""


@dataclass(frozen=True)
class Seconds:
    """Of the clock and of the processor."""

    wall: float
    processor: float

    def __str__(self) -> str:
        return f"{self.wall:.3g} s ({self.processor:.3g} s)"


class Stopwatch:
    """Seconds between its making and now."""

    def __init__(self) -> None:
        self.wall, self.processor = time.perf_counter(), time.process_time()

    def read(self) -> Seconds:
        return Seconds(time.perf_counter() - self.wall, time.process_time() - self.processor)


def least(times: Sequence[Seconds]) -> Seconds:
    """The least of either clock."""
    return Seconds(min(t.wall for t in times), min(t.processor for t in times))


def write_pictures(folder: Path, trained: int, tested: int, resolution: int) -> None:
    """Class folders of noise, a little larger than the encoder's input, so many pictures in all."""
    random = np.random.default_rng(0)
    for part, count in (("train", trained), ("test", tested)):
        for number in range(count):
            directory = folder / part / subject.class_names(CLASSES)[number % CLASSES]
            directory.mkdir(parents=True, exist_ok=True)
            coarse = random.integers(0, 256, (32, 32, 3)).astype(np.uint8)
            picture = Image.fromarray(coarse).resize((resolution * 9 // 8,) * 2)
            picture.save(directory / f"{number}.jpg")


def build(method: str, folder: Path, sizes: Mapping[str, Any], stored: bool) -> Any:
    """The trainer that train.py would build, ready for a step."""
    resolution = sizes["image_resolution"]
    options = {
        "DATASET.DIR": folder / "pictures",
        "DATALOADER.NUM_WORKERS": 0,
        "DATALOADER.TRAIN_X.BATCH_SIZE": BATCH,
        "INPUT.SIZE": (resolution, resolution),
        "USE_CUDA": False,
        "STORE.TRAINING": stored,
        "STORE.TESTS": stored,
        "STORE.FOLDER": folder / "store",
    }
    arguments = [
        *("--trainer", method, "--seed", "1", "--backbone", subject.BACKBONE),
        *("--dataset-config-file", subject.ROOT / "configs/datasets/my_images.yaml"),
        *("--config-file", subject.ROOT / f"configs/trainers/{CONFIGS[method]}.yaml"),
        *("--output-dir", folder / f"{method}-{stored}", "--precision", "fp32"),
        *(word for pair in options.items() for word in pair),
    ]
    trainer = build_trainer(train.configure(train.parse_arguments(list(map(str, arguments)))))
    trainer.epoch, trainer.batch_idx, trainer.num_batches = 0, 0, 1000
    trainer.start_epoch, trainer.max_epoch, trainer.trains = 0, 1, True
    trainer.train_loader_x = trainer.stored.for_training(trainer.train_loader_x)
    trainer.set_model_mode("train")
    return trainer


def steps(trainer: Any) -> Iterator[Seconds]:
    """The time of every step of the first epoch, with the loading of its images."""
    trainer.train_loader_x.set_epoch(0)
    batches = iter(trainer.train_loader_x)
    for _ in range(len(trainer.train_loader_x)):
        watch = Stopwatch()
        trainer.forward_backward(next(batches))
        yield watch.read()


def measure_steps(folder: Path, sizes: Mapping[str, Any]) -> dict[str, Seconds]:
    """A CoOp step without the store, filling it, and with a full one."""
    plain, stored = build(FIRST, folder, sizes, False), build(FIRST, folder, sizes, True)
    both = list(zip(steps(plain), steps(stored), strict=True))[1:]  # the first warms up
    without, filling = (least(times) for times in zip(*both, strict=True))
    full = least(list(steps(stored))[1:])
    counts = stored.stored.counts["training"]
    assert counts["read"] == counts["computed"] > 0
    return {"without": without, "filling": filling, "full": full}


@torch.no_grad()
def encode_some(trainer: Any, count: int) -> Seconds:
    """Opening and encoding so many test images, in batches."""
    watch, left = Stopwatch(), count
    for batch in trainer.test_loader:
        images, _ = trainer.parse_batch_test(batch)
        trainer.model.encode_images(images)
        left -= len(images)
        if left <= 0:
            break
    return watch.read()


def fill_with_zeros(trainer: Any) -> None:
    """Put features of all test images into the store that cost nothing: reading takes as long."""
    real = trainer.stored.frozen_clip()
    free = replace(real, encode=lambda images: torch.zeros(len(images), real.width))
    trainer.stored.frozen_clip = lambda: free
    for batch in trainer.stored.for_tests(trainer.test_loader):
        trainer.parse_batch_test(batch)


def measure_test(folder: Path, sizes: Mapping[str, Any], tested: int) -> dict[str, Seconds]:
    """Opening and encoding the test images, and the whole test of another method with a full store."""
    first = build(FIRST, folder, sizes, True)
    some = encode_some(first, min(ENCODED, tested))
    fill_with_zeros(first)
    second = build(SECOND, folder, sizes, True)
    watch = Stopwatch()
    second.test()
    full = watch.read()
    assert second.stored.counts["tests"] == {"read": tested, "computed": 0}
    times = tested / min(ENCODED, tested)
    return {"encoding": Seconds(some.wall * times, some.processor * times), "full": full}


def disk(folder: Path) -> float:
    """Bytes of the store for every feature in it."""
    entries = FeatureStore(folder / "store").entries()
    return sum(entry.size for entry in entries) / sum(entry.count for entry in entries)


def run(count: int, tested: int, sizes: Mapping[str, Any]) -> list[dict[str, str]]:
    """The rows of the table: of so many steps, and of a test of so many pictures."""
    BUILTIN[subject.BACKBONE] = lambda: subject.random_clip(sizes).state_dict()
    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stdout(io.StringIO()):
        folder = Path(name)
        write_pictures(folder / "pictures", BATCH * count, tested, sizes["image_resolution"])
        step, test = measure_steps(folder, sizes), measure_test(folder, sizes, tested)
        size = disk(folder)
    filling = step["filling"].processor / step["without"].processor - 1
    return [
        _row(f"{FIRST} step, batch {BATCH}", step["without"], step["full"]),
        {
            "what": f"{FIRST} step that fills the store",
            "without": str(step["without"]),
            "with the store": str(step["filling"]),
            "times faster": f"{100 * filling:+.1f} % time",
        },
        _row(f"{SECOND} test, {tested:,} pictures", test["encoding"], test["full"]),
        {"what": "disk, a picture and epoch", "with the store": f"{size:,.0f} bytes"},
    ]


def _row(what: str, without: Seconds, full: Seconds) -> dict[str, str]:
    faster = f"{without.wall / full.wall:.1f} ({without.processor / full.processor:.1f})"
    return {
        "what": what,
        "without": str(without),
        "with the store": str(full),
        "times faster": faster,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=5, help="steps of each path")
    parser.add_argument("--pictures", type=int, default=2000, help="of the test")
    parser.add_argument("--threads", type=int, help="of PyTorch")
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    rows = run(given.steps + 1, given.pictures, subject.VIT_B16)
    print(json.dumps(measure.machine(torch.device("cpu"))))
    print(tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    main()
