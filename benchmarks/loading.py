"""Images a second that a training loader gives, with the pixels of its images kept and without.

    python -m benchmarks.loading --workers 0 1 2 --images 128

Generated JPEGs of ImageNet's usual size under the training transforms of CLIP methods, in batches of 4;
beside them the transforms of tests. The first epoch, which decodes, is not counted.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from dassl.config import get_cfg_default
from dassl.data.data_manager import build_data_loader
from dassl.data.datasets import Datum
from dassl.data.transforms import build_transform
from PIL import Image
from tabulate import tabulate
from torch.utils.data import DataLoader
from yacs.config import CfgNode

SIZE = (500, 375)
BATCH = 4
EPOCHS = 5
KEPT = 1024  # MiB


def draw_images(folder: Path, count: int) -> list[Datum]:
    """JPEGs of about 110 kB each, as those of ImageNet."""
    random, images = np.random.default_rng(0), []
    for index in range(count):
        coarse = random.integers(0, 256, (SIZE[1] // 8, SIZE[0] // 8, 3), np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize(SIZE, Image.Resampling.BICUBIC), int)
        pixels = np.clip(smooth + random.normal(0, 12, smooth.shape), 0, 255).astype(np.uint8)
        path = folder / f"{index}.jpg"
        Image.fromarray(pixels).save(path, quality=85)
        images.append(Datum(str(path), label=index % 10, classname=str(index % 10)))
    return images


def configuration(workers: int, kept: int) -> CfgNode:
    """Training as CLIP's methods have it, with the random numbers of seed 1."""
    cfg = get_cfg_default()
    cfg.SEED, cfg.INPUT.SIZE, cfg.INPUT.INTERPOLATION = 1, (224, 224), "bicubic"
    cfg.INPUT.TRANSFORMS = ("random_resized_crop", "random_flip", "normalize")
    cfg.DATALOADER.NUM_WORKERS, cfg.DATALOADER.KEPT_PIXELS = workers, kept
    return cfg


def training_loader(images: Sequence[Datum], workers: int, kept: int) -> DataLoader:
    """A loader as training has it."""
    cfg = configuration(workers, kept)
    return build_data_loader(cfg, "RandomSampler", images, BATCH, tfm=build_transform(cfg))


def testing_loader(images: Sequence[Datum], workers: int) -> DataLoader:
    """A loader as tests have it."""
    cfg = configuration(workers, 0)
    transform = build_transform(cfg, is_train=False)
    return build_data_loader(cfg, "SequentialSampler", images, BATCH, tfm=transform, is_train=False)


def rate(loader: DataLoader) -> float:
    """Images a second in the best of EPOCHS after the first."""
    seconds = []
    for epoch in range(1 + EPOCHS):
        loader.set_epoch(epoch)
        start = time.perf_counter()
        count = sum(len(batch["label"]) for batch in loader)
        seconds.append(time.perf_counter() - start)
    return count / min(seconds[1:])


def measure(images: Sequence[Datum], workers: int) -> dict[str, float]:
    """The figures of a number of workers."""
    decoded = rate(training_loader(images, workers, 0))
    kept = rate(training_loader(images, workers, KEPT))
    return {
        "workers": workers,
        "training, decoded each time": decoded,
        "training, pixels kept": kept,
        "times": kept / decoded,
        "tests": rate(testing_loader(images, workers)),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.loading",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--workers", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--images", type=int, default=128)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        images = draw_images(Path(folder), given.images)
        rows = [measure(images, workers) for workers in given.workers]
    print(
        tabulate(
            rows, headers="keys", tablefmt="github", floatfmt=("d", ".0f", ".0f", ".2f", ".0f")
        )
    )


if __name__ == "__main__":
    main()
