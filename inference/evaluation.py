"""What a classifier makes of pictures whose classes are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import confusion_matrix
from torch import Tensor
from yacs.config import CfgNode

from prompting.errors import InputError
from train import default_config
from trainers import run_folder
from trainers.configuration_merge import merge
from trainers.pictures import dataset_of
from trainers.results import config_items

from .classifier import Classifier

OF_DATA = "DATASET."


@dataclass(frozen=True)
class Evaluation:
    """Answers beside the truth.

    names: the classes. paths: of the pictures. labels: (N,), the true classes. logits: (N, C).
    """

    names: tuple[str, ...]
    paths: tuple[str, ...]
    labels: Tensor
    logits: Tensor

    @cached_property
    def probabilities(self) -> np.ndarray:
        """(N, C)."""
        return self.logits.double().softmax(1).numpy()

    @cached_property
    def predicted(self) -> np.ndarray:
        """The most probable class of every picture, (N,)."""
        return self.logits.argmax(1).numpy()

    @cached_property
    def correct(self) -> np.ndarray:
        """Which pictures got their own class, (N,)."""
        return self.predicted == self.labels.numpy()

    @cached_property
    def confidence(self) -> np.ndarray:
        """The probability of the class that was predicted, (N,)."""
        return self.probabilities[np.arange(len(self.paths)), self.predicted]

    @cached_property
    def confusion(self) -> np.ndarray:
        """Pictures by true class (rows) and predicted class, (C, C)."""
        classes = np.arange(len(self.names))
        return confusion_matrix(self.labels.numpy(), self.predicted, labels=classes)

    @cached_property
    def by_class(self) -> np.ndarray:
        """Accuracy in percent, (C,); nan for a class without pictures."""
        counts = self.confusion.sum(1)
        shares = np.full(len(counts), np.nan)
        return np.divide(100 * self.confusion.diagonal(), counts, out=shares, where=counts > 0)

    @property
    def accuracy(self) -> float:
        """Over all pictures, in percent."""
        return 100 * float(self.correct.mean())

    @property
    def mean_by_class(self) -> float:
        """The mean of the classes' accuracies, each counted alike, in percent."""
        return float(np.nanmean(self.by_class))

    def mistakes(self, most: int) -> list[int]:
        """The wrong answers that were given with the highest probability, at most so many."""
        wrong = np.flatnonzero(~self.correct)
        return wrong[np.argsort(-self.confidence[wrong], kind="stable")][:most].tolist()


def evaluate(
    classifier: Classifier, items: Sequence[Any], names: Sequence[str], progress: bool = False
) -> Evaluation:
    """Classify the items of a dataset.

    Args:
        classifier: for the classes that labels stand for.
        items: Dassl's Datum, with impath and label.
        names: of the classes.
        progress: show a bar.

    Raises:
        InputError: a picture cannot be read.
    """
    paths = tuple(item.impath for item in items)
    labels = torch.tensor([item.label for item in items], dtype=torch.long)
    logits = classifier.logits(paths, progress=progress)
    return Evaluation(tuple(names), paths, labels, logits)


def configuration_of(
    header: Mapping[str, Any], root: str | None = None, options: Sequence[str] = ()
) -> CfgNode:
    """The configuration of a training, by what its file says.

    Args:
        header: of the file.
        root: the data root here, instead of the one that the training had.
        options: KEY VALUE pairs that say other data (DATASET.*), merged last.

    Raises:
        InputError: options are no such pairs.
    """
    if strange := [key for key in options[::2] if not key.startswith(OF_DATA)]:
        raise InputError(
            f"{strange[0]} is no key of the data: expected DATASET.KEY VALUE pairs, such as "
            "DATASET.SUBSAMPLE_CLASSES new"
        )
    cfg = default_config()
    known = dict(config_items(cfg))
    pairs = [(key, value) for key, value in config_items(header["config"]) if key in known]
    merge(cfg, [part for pair in pairs for part in pair])
    if root:
        cfg.DATASET.ROOT = root
    cfg.RESUME = cfg.OUTPUT_DIR = ""
    merge(cfg, list(options))
    return cfg


def load_dataset(cfg: CfgNode, folder: Path | None = None) -> Any:
    """The dataset of a configuration, which writes nothing.

    Args:
        folder: of a run, whose record its pictures are compared with.

    Raises:
        InputError: it is not there, or the run is of other pictures.
    """
    own = cfg.clone()
    own.OUTPUT_DIR = str(folder or "")
    if folder and (changed := run_folder.changed_inputs(own, ("val", "test"))):
        raise InputError(
            f"the run in {folder} is of other pictures: {'; '.join(changed)}. Put those back, or say "
            "where they lie (--root, or DATASET.DIR FOLDER)"
        )
    return dataset_of(own)
