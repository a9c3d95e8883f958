"""Distances that gradients flow through."""

from __future__ import annotations

import torch

__all__ = ["squared_distances"]


def squared_distances(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Squared Euclidean distances (m, n) of vectors (m, dim) and (n, dim)."""
    lengths = x.square().sum(1)[:, None] + y.square().sum(1)
    return lengths - 2 * x @ y.T
