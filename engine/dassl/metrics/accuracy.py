"""Classification accuracy of a batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch

__all__ = ["compute_accuracy"]


def compute_accuracy(
    output: torch.Tensor | Sequence[torch.Tensor],
    target: torch.Tensor,
    topk: Sequence[int] = (1,),
) -> list[torch.Tensor]:
    """Top-k accuracies in percent.

    Args:
        output: scores (batch, classes); of several outputs the first is taken.
        target: labels (batch,).
        topk: the values of k.

    Returns:
        For each k a tensor of shape (1,).
    """
    if isinstance(output, (tuple, list)):
        output = output[0]
    ranked = output.topk(max(topk), dim=1).indices
    hits = ranked == target.reshape(-1, 1)
    return [hits[:, :k].any(dim=1).float().mean().mul(100.0).reshape(1) for k in topk]
