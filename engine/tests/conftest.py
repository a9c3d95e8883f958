"""A toy data set of coloured squares, and configurations on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from dassl.config import get_cfg_default
from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum
from dassl.modeling import BACKBONE_REGISTRY, Backbone
from PIL import Image
from torch import nn

CLASSNAMES = ("red", "green", "blue")
IMAGES_PER_CLASS = 10


class ToyColours(DatasetBase):
    """Six training, two validation and two test images of each of three colours.

    With NUM_LABELED set, the training images are its unlabelled ones too; with VAL_PERCENT 0 it has
    no validation images.
    """

    def __init__(self, cfg):
        splits = {"train": [], "val": [], "test": []}
        for label, name in enumerate(CLASSNAMES):
            for index in range(IMAGES_PER_CLASS):
                split = "train" if index < 6 else "val" if index < 8 else "test"
                path = str(Path(cfg.DATASET.ROOT) / f"{name}_{index}.png")
                splits[split].append(Datum(path, label, domain=index % 2, classname=name))
        super().__init__(
            train_x=splits["train"],
            train_u=splits["train"] if cfg.DATASET.NUM_LABELED > 0 else None,
            val=splits["val"] if cfg.DATASET.VAL_PERCENT > 0 else None,
            test=splits["test"],
        )


def toy_backbone(pretrained: bool = True, **kwargs):
    """The mean colour, mixed linearly."""

    class ToyBackbone(Backbone):
        def __init__(self):
            super().__init__()
            self._out_features = 8
            self.linear = nn.Linear(3, 8)

        def forward(self, x):
            return self.linear(x.mean(dim=(2, 3)))

    return ToyBackbone()


DATASET_REGISTRY.register(ToyColours, force=True)
BACKBONE_REGISTRY.register(toy_backbone, force=True)


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory):
    """A folder with the toy images, 24 x 20 pixels each."""
    folder = tmp_path_factory.mktemp("colours")
    noise = np.random.default_rng(0)
    for label, name in enumerate(CLASSNAMES):
        for index in range(IMAGES_PER_CLASS):
            pixels = noise.integers(0, 100, size=(20, 24, 3), dtype=np.uint8)
            pixels[..., label] += 120
            Image.fromarray(pixels).save(folder / f"{name}_{index}.png")
    return folder


@pytest.fixture
def make_cfg(image_folder, tmp_path):
    """A function: KEY, VALUE, ... to a configuration on the toy data, on the CPU."""

    def make(*pairs):
        cfg = get_cfg_default()
        cfg.DATASET.NAME = "ToyColours"
        cfg.DATASET.ROOT = str(image_folder)
        cfg.OUTPUT_DIR = str(tmp_path / "output")
        cfg.SEED = 1
        cfg.USE_CUDA = False
        cfg.VERBOSE = False
        cfg.INPUT.SIZE = (16, 16)
        cfg.INPUT.TRANSFORMS = ("random_resized_crop", "random_flip", "normalize")
        cfg.DATALOADER.NUM_WORKERS = 0
        cfg.DATALOADER.TRAIN_X.BATCH_SIZE = 4
        cfg.DATALOADER.TEST.BATCH_SIZE = 4
        cfg.MODEL.BACKBONE.NAME = "toy_backbone"
        cfg.MODEL.BACKBONE.PRETRAINED = False
        cfg.OPTIM.NAME = "sgd"
        cfg.OPTIM.LR = 0.1
        cfg.OPTIM.MAX_EPOCH = 3
        cfg.OPTIM.LR_SCHEDULER = "cosine"
        cfg.OPTIM.WARMUP_EPOCH = 1
        cfg.OPTIM.WARMUP_TYPE = "constant"
        cfg.merge_from_list(list(pairs))
        return cfg

    return make


@pytest.fixture(autouse=True)
def seeded():
    """Tests do not depend on those that ran before."""
    torch.manual_seed(0)
