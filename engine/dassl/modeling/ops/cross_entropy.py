"""Cross entropy under the name and with the arguments that trainers know."""

from __future__ import annotations

import torch
from torch.nn import functional as F

__all__ = ["cross_entropy"]


def cross_entropy(
    input: torch.Tensor, target: torch.Tensor, label_smooth: float = 0, reduction: str = "mean"
) -> torch.Tensor:
    """Cross entropy of scores (batch, classes) with labels (batch,).

    Args:
        input: scores.
        target: labels.
        label_smooth: probability that is spread evenly over all classes.
        reduction: mean, sum or none.
    """
    return F.cross_entropy(input, target, label_smoothing=float(label_smooth), reduction=reduction)
