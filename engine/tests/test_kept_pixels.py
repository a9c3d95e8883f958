"""Training images are decoded once, whoever reads them, and are what they would be without."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from dassl.config import get_cfg_default
from dassl.data import data_manager
from dassl.data.data_manager import build_data_loader
from dassl.data.datasets import Datum
from dassl.data.kept_pixels import KeptPixels
from dassl.data.transforms import build_transform
from dassl.utils import read_image
from PIL import Image, ImageDraw

COUNT = 9
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")


@pytest.fixture
def images(tmp_path):
    random, data = np.random.default_rng(0), []
    for index in range(COUNT):
        pixels = random.integers(0, 256, (30 + index, 44 - index, 3), np.uint8)
        path = tmp_path / f"{index}.{'jpg' if index % 2 else 'png'}"
        Image.fromarray(pixels).save(path)
        data.append(Datum(str(path), label=index % 3, classname=f"c{index % 3}"))
    return data


@pytest.fixture
def decoded(tmp_path, monkeypatch) -> Path:
    """A file with a line for each image that is decoded, in whichever process."""
    note = tmp_path / "decoded.txt"
    note.touch()

    def read(path):
        with note.open("a") as file:
            file.write(f"{path}\n")
        return read_image(path)

    monkeypatch.setattr(data_manager, "read_image", read)
    return note


def loader(images, workers, kept):
    cfg = get_cfg_default()
    cfg.SEED, cfg.INPUT.SIZE, cfg.DATALOADER.NUM_WORKERS = 1, (24, 24), workers
    cfg.INPUT.TRANSFORMS = ("random_resized_crop", "random_flip", "colorjitter", "normalize")
    cfg.DATALOADER.KEPT_PIXELS = kept
    return build_data_loader(
        cfg, "RandomSampler", images, batch_size=3, tfm=build_transform(cfg), is_train=True
    )


def epochs(loader, count=3):
    seen = []
    for epoch in range(count):
        loader.set_epoch(epoch)
        seen += [(batch["img"], batch["label"], batch["index"]) for batch in loader]
    return seen


@pytest.mark.parametrize("workers", [0, 2])
def test_each_is_decoded_once_and_nothing_else_changes(workers, images, decoded):
    expected = epochs(loader(images, workers, kept=0))
    assert len(decoded.read_text().splitlines()) == 3 * COUNT
    decoded.write_text("")
    found = epochs(loader(images, workers, kept=1))
    for one, other in zip(expected, found, strict=True):
        assert all(map(torch.equal, one, other))
    lines = decoded.read_text().splitlines()
    assert sorted(lines) == sorted(item.impath for item in images)


def test_what_does_not_fit_is_decoded_every_time():
    image = Image.new("RGB", (10, 4), (1, 2, 3))
    kept, reads = KeptPixels(3, 2 * 3 * 40 + 5), []
    for _ in range(3):
        for index in range(3):
            found = kept.image(index, lambda index=index: reads.append(index) or image)
            assert found.tobytes() == image.tobytes()
            assert (found.mode, found.size) == ("RGB", (10, 4))
    assert reads == [0, 1, 2, 2, 2]


@pytest.mark.parametrize("kept", [KeptPixels(2, 0), KeptPixels(0, 100), KeptPixels(2, 2**62)])
def test_without_memory_every_image_is_decoded(kept):
    reads = []
    for _ in range(2):
        kept.image(0, lambda: reads.append(1) or Image.new("RGB", (2, 2)))
    assert len(reads) == 2


def test_what_is_done_to_an_image_stays_with_it():
    image, kept = Image.new("RGB", (8, 8), "red"), KeptPixels(1, 1000)
    for _ in range(3):
        found = kept.image(0, image.copy)
        assert found.tobytes() == image.tobytes()
        ImageDraw.Draw(found).rectangle((0, 0, 5, 5), fill="blue")


def test_workers_that_are_not_forked_decode():
    kept = KeptPixels(1, 1000)
    kept.image(0, lambda: Image.new("RGB", (2, 2)))
    copied, reads = pickle.loads(pickle.dumps(kept)), []
    copied.image(0, lambda: reads.append(1) or Image.new("RGB", (2, 2)))
    assert reads == [1]


def test_other_kinds_of_images_are_not_kept():
    kept = KeptPixels(1, 1000)
    for value in (3, 5):
        grey = kept.image(0, lambda value=value: Image.new("L", (2, 2), value))
        assert grey.getpixel((0, 0)) == value
