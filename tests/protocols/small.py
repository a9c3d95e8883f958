"""Runs that take a second: a tiny random CLIP and a folder of coloured pictures."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import train
from protocols.published.runs import Environment, Run
from tests import tiny_clip

CLASSES = ("cat", "dog", "fox", "hen", "owl")
OPTIONS = (
    *("INPUT.SIZE", "(32,32)", "DATALOADER.NUM_WORKERS", "0", "USE_CUDA", "False"),
    *("OPTIM.MAX_EPOCH", "2", "DATALOADER.TRAIN_X.BATCH_SIZE", "4"),
    *("TRAINER.PROMPTSRC.PROMPT_DEPTH_TEXT", "2", "TRAINER.PROMPTSRC.PROMPT_DEPTH_VISION", "2"),
    *("TRAINER.IVLP.PROMPT_DEPTH_TEXT", "2", "TRAINER.IVLP.PROMPT_DEPTH_VISION", "2"),
    *("TRAINER.PROMPTSRC.GPA_MEAN", "1", "TRAINER.PROMPTSRC.GPA_STD", "1"),
)


def write_pictures(folder: Path, train_images: int = 3, test_images: int = 4) -> Path:
    """Class folders of small noisy pictures, a colour a class."""
    random = np.random.default_rng(0)
    for part, count in (("train", train_images), ("test", test_images)):
        for number, name in enumerate(CLASSES):
            directory = folder / part / name
            directory.mkdir(parents=True)
            for index in range(count):
                pixels = random.integers(0, 120, (36, 36, 3))
                pixels[..., number % 3] += 30 * (number + 1) % 136
                Image.fromarray(pixels.astype(np.uint8)).save(directory / f"{index}.png")
    return folder


def make_environment(folder: Path, options: tuple[str, ...] = ()) -> Environment:
    """An environment whose dataset my_images has the pictures, and whose backbone is tiny."""
    pictures = folder / "pictures"
    if not pictures.exists():
        write_pictures(pictures)
    return Environment(
        data=folder,
        output=folder / "output",
        backbone=str(tiny_clip.write(folder)),
        precision="fp32",
        options=("DATASET.DIR", str(pictures), *OPTIONS, *options),
    )


def execute(run: Run, environment: Environment) -> Path:
    """train.py in this process; returns the output folder."""
    stdout = sys.stdout
    try:
        train.main(run.arguments(environment))
    finally:
        sys.stdout = stdout
    return environment.output / run.folder
