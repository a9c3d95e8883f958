"""Images a second that the loaders of training and of tests give, by number of workers.

    python -m benchmarks.loading --workers 0 1 2 --images 256
    python -m benchmarks.loading --workers 0 --clock cpu    # beside other work: without workers

Generated JPEGs of ImageNet's usual size under the transforms of CLIP's methods in batches of 4, with
the pixels of training images kept and without. Decoding alone is that of the main process. All take
turns; figures are the best of a few epochs after the first one.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from dassl.config import get_cfg_default
from dassl.data.data_manager import build_data_loader
from dassl.data.datasets import Datum
from dassl.data.transforms import build_transform
from dassl.utils import read_image
from tabulate import tabulate
from yacs.config import CfgNode

from . import measure
from .photographs import write_photographs

BATCH = 4
KEPT = 2048  # MiB
DECODED, PIXELS_KEPT = "training, decoded each time", "training, pixels kept"
TESTS, DECODING = "tests", "decoding alone"


def configuration(workers: int, kept: int) -> CfgNode:
    """Training as CLIP's methods have it, with the random numbers of seed 1."""
    cfg = get_cfg_default()
    cfg.SEED, cfg.INPUT.SIZE, cfg.INPUT.INTERPOLATION = 1, (224, 224), "bicubic"
    cfg.INPUT.TRANSFORMS = ("random_resized_crop", "random_flip", "normalize")
    cfg.DATALOADER.NUM_WORKERS, cfg.DATALOADER.KEPT_PIXELS = workers, kept
    return cfg


def epochs(
    images: Sequence[Datum], workers: int, kept: int = 0, is_train: bool = True
) -> Callable[[], object]:
    """What goes through the next epoch of a loader at each call."""
    cfg, numbers = configuration(workers, kept), itertools.count()
    transform = build_transform(cfg, is_train=is_train)
    sampler = "RandomSampler" if is_train else "SequentialSampler"
    loader = build_data_loader(cfg, sampler, images, BATCH, tfm=transform, is_train=is_train)

    def epoch() -> None:
        loader.set_epoch(next(numbers))
        deque(loader, maxlen=0)

    return epoch


def rates(images: Sequence[Datum], workers: int, clock: Callable[[], float]) -> dict[str, float]:
    """Images a second, by what gives them."""
    paths = {
        DECODED: epochs(images, workers),
        PIXELS_KEPT: epochs(images, workers, KEPT),
        TESTS: epochs(images, workers, is_train=False),
    }
    if not workers:
        paths[DECODING] = lambda: [read_image(image.impath) for image in images]
    seconds = measure.interleaved(paths, torch.device("cpu"), clock=clock)
    return {name: len(images) / value for name, value in seconds.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.loading",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--workers", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--images", type=int, default=256, help="a multiple of 4")
    parser.add_argument("--clock", choices=measure.CLOCKS, default="wall")
    given = parser.parse_args(arguments)
    if given.images < BATCH or given.images % BATCH:
        parser.error(f"--images is {given.images}: expected a multiple of {BATCH}")
    if given.clock == "cpu" and any(given.workers):
        parser.error("--clock cpu does not see what workers take: give --workers 0")
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        paths = write_photographs(Path(folder), given.images)
        images = [Datum(path, label=0, classname="photograph") for path in paths]
        for workers in given.workers:
            found = rates(images, workers, measure.CLOCKS[given.clock])
            times = found[PIXELS_KEPT] / found[DECODED]
            rows.append({"workers": workers, **found, "times, kept": times})
    formats = [".2f" if name == "times, kept" else ".0f" for name in rows[0]]
    print(tabulate(rows, headers="keys", tablefmt="github", floatfmt=formats))


if __name__ == "__main__":
    main()
