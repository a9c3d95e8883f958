"""Logistic regression whose regularisation is searched on validation data, as CoOp's code has it."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np

STARTS = (1e6, 1e4, 1e2, 1.0, 1e-2, 1e-4, 1e-6)
STEPS = 8
MAX_ITERATIONS = 1000


@dataclass(frozen=True)
class Samples:
    """features: (N, D). labels: (N,), from 0."""

    features: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Fit:
    """A fitted classifier: C, the inverse of the regularisation's strength, weight (C, D) and bias (C,)
    of its logits, and its accuracy (0 to 1) on the validation samples."""

    C: float
    weight: np.ndarray
    bias: np.ndarray
    accuracy: float


def fit(C: float, train: Samples, validation: Samples | None = None) -> Fit:
    """Fit by L-BFGS with an L2 penalty; without validation samples the accuracy is NaN."""
    # imported here, since it takes a second that no other method needs
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=C, max_iter=MAX_ITERATIONS)
    with warnings.catch_warnings():
        # with little regularisation a fit may stop at the last iteration, as the published ones do
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(train.features, train.labels)
    weight, bias = model.coef_, model.intercept_
    if len(weight) == 1:  # of two classes it has the difference of the logits
        weight, bias = (np.concatenate([np.zeros_like(each), each]) for each in (weight, bias))
    accuracy = math.nan
    if validation is not None:
        accuracy = model.score(validation.features, validation.labels)
    return Fit(C, weight, bias, accuracy)


def search(train: Samples, validation: Samples) -> Fit:
    """The fit that the published search ends with.

    Of STARTS the first of the best on validation is the middle of an interval, a factor of ten to
    either side. In STEPS steps both ends are compared: the better one stays, the left one at a tie, and
    the other moves to the middle of the logarithms. The better end of the last step is taken.
    """
    best = max((fit(C, train, validation) for C in STARTS), key=lambda each: each.accuracy)
    ends = [math.log10(best.C) - 1, math.log10(best.C) + 1]
    fits = [fit(10**end, train, validation) for end in ends]
    for _ in range(STEPS - 1):
        moved = int(fits[0].accuracy >= fits[1].accuracy)
        ends[moved] = sum(ends) / 2
        fits[moved] = fit(10 ** ends[moved], train, validation)
    return max(fits, key=lambda each: each.accuracy)
