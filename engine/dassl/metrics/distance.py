"""Distances between two sets of vectors."""

from __future__ import annotations

import torch
from torch.nn import functional as F

__all__ = ["compute_distance_matrix", "cosine_distance", "euclidean_squared_distance"]


def compute_distance_matrix(
    input1: torch.Tensor, input2: torch.Tensor, metric: str = "euclidean"
) -> torch.Tensor:
    """Distances of every row of one matrix to every row of another.

    Args:
        input1: (m, features).
        input2: (n, features).
        metric: ``euclidean`` (squared) or ``cosine``.

    Returns:
        A matrix (m, n).

    Raises:
        ValueError: the inputs are not matrices of equal width, or the metric is unknown.
    """
    if input1.dim() != 2 or input2.dim() != 2 or input1.shape[1] != input2.shape[1]:
        raise ValueError(
            "Distances need two matrices with as many columns, but got shapes "
            f"{tuple(input1.shape)} and {tuple(input2.shape)}"
        )
    if metric == "euclidean":
        return euclidean_squared_distance(input1, input2)
    if metric == "cosine":
        return cosine_distance(input1, input2)
    raise ValueError(f'Unknown distance metric "{metric}"; choose "euclidean" or "cosine"')


def euclidean_squared_distance(input1: torch.Tensor, input2: torch.Tensor) -> torch.Tensor:
    """Squared Euclidean distances, (m, features) and (n, features) to (m, n)."""
    return torch.cdist(input1, input2).square()


def cosine_distance(input1: torch.Tensor, input2: torch.Tensor) -> torch.Tensor:
    """One minus the cosine, (m, features) and (n, features) to (m, n)."""
    return 1 - F.normalize(input1, dim=1) @ F.normalize(input2, dim=1).t()
