"""Reversing gradients, for learning against a critic."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

__all__ = ["ReverseGrad", "reverse_grad"]


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, scale: float) -> torch.Tensor:
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradient * -ctx.scale, None


reverse_grad = _Reversal.apply


class ReverseGrad(nn.Module):
    """The identity, whose gradient has the other sign (Ganin and Lempitsky 2015)."""

    def forward(self, x: torch.Tensor, grad_scaling: float = 1.0) -> torch.Tensor:
        """``x``; its gradient will be multiplied by ``-grad_scaling``.

        Raises:
            ValueError: ``grad_scaling`` is negative.
        """
        if grad_scaling < 0:
            raise ValueError(f"grad_scaling is {grad_scaling}: expected a number of at least 0")
        return reverse_grad(x, grad_scaling)
