"""Convex combinations of images and of their labels."""

from __future__ import annotations

import torch

__all__ = ["mixup"]


def mixup(
    x1: torch.Tensor,
    x2: torch.Tensor,
    y1: torch.Tensor,
    y2: torch.Tensor,
    beta: float,
    preserve_order: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mix two batches image by image (Zhang et al., ICLR 2018).

    Args:
        x1: images (batch, channels, height, width).
        x2: images of the same shape.
        y1: label distributions (batch, classes).
        y2: the same for ``x2``.
        beta: both parameters of the Beta distribution of the share of ``x1``.
        preserve_order: the larger share goes to ``x1``.

    Returns:
        Mixed images and labels, of the shapes of ``x1`` and ``y1``.
    """
    share = torch.distributions.Beta(beta, beta).sample((len(x1), 1, 1, 1))
    if preserve_order:
        share = torch.maximum(share, 1 - share)
    share = share.to(x1.device)
    images = share * x1 + (1 - share) * x2
    share = share.flatten(1)
    return images, share * y1 + (1 - share) * y2
