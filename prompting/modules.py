"""Small parts of what methods learn."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ChannelwiseMap(nn.Module):
    """a * x + b with a number each a channel, the identity at the start; in fp32.

    This is feature-wise linear modulation (Perez et al., AAAI 2018) whose numbers are learned as such.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        """(..., dim) -> (..., dim)."""
        return self.scale * x.float() + self.bias


class _ScaledApart(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, value: float, gradient: float) -> Tensor:
        ctx.gradient = gradient
        return value * x

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        return ctx.gradient * gradient, None, None


def scale_apart(x: Tensor, value: float = 1.0, gradient: float = 1.0) -> Tensor:
    """x times `value`, whose gradient reaches x times `gradient`."""
    return _ScaledApart.apply(x, value, gradient)
