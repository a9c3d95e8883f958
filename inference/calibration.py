"""Whether probabilities are frequencies: reliability, its error, and the temperature that mends it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from scipy.optimize import minimize_scalar
from torch import Tensor

BINS = 15
HOTTEST = 20.0
"""Temperatures are looked for from its inverse to it."""


@dataclass(frozen=True)
class Reliability:
    """Pictures in bins of equal width by the probability of their answer (Guo et al. 2017).

    counts: (bins,). confidence, accuracy: their means in each bin, (bins,), 0 in an empty one.
    """

    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @classmethod
    def of(cls, confidence: np.ndarray, correct: np.ndarray, bins: int = BINS) -> Reliability:
        """Of probabilities (N,) and whether each answer is right (N,); bin b holds (b/B, (b+1)/B]."""
        place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
        counts = np.bincount(place, minlength=bins)
        sums = (np.bincount(place, values, bins) for values in (confidence, correct))
        return cls(counts, *(each / np.maximum(counts, 1) for each in sums))

    @property
    def error(self) -> float:
        """The expected calibration error: over bins, share * |accuracy - confidence|, summed."""
        gaps = np.abs(self.accuracy - self.confidence)
        return float((self.counts * gaps).sum() / self.counts.sum())


def best_temperature(logits: Tensor, labels: Tensor) -> float | None:
    """The T that makes the cross entropy of logits / T least; None where nothing bounds it, since all
    answers are right or it lies beyond `HOTTEST` or its inverse.

    Args:
        logits: (N, C).
        labels: (N,).
    """
    scores, widest = logits.double(), math.log(HOTTEST)
    if bool((scores.argmax(1) == labels).all()):
        return None

    def loss(log_temperature: float) -> float:
        return float(F.cross_entropy(scores / math.exp(log_temperature), labels))

    found = minimize_scalar(loss, bounds=(-widest, widest), method="bounded").x
    return math.exp(found) if abs(found) < 0.99 * widest else None
