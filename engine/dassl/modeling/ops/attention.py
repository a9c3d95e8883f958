"""Weights that an image gives to a few alternatives."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["Attention"]

_REDUCTION = 16


class Attention(nn.Module):
    """Softmax weights from the mean over a feature map (Sun et al. 2022, Dynamic Domain
    Generalization).

    Args:
        in_channels: channels of the feature map.
        out_features: number of weights.
        squeeze: width of the hidden layer; by default a sixteenth of ``in_channels``.
        bias: with biases.

    Raises:
        ValueError: the hidden layer would be empty.
    """

    def __init__(
        self, in_channels: int, out_features: int, squeeze: int | None = None, bias: bool = True
    ) -> None:
        super().__init__()
        self.squeeze = squeeze or in_channels // _REDUCTION
        if self.squeeze < 1:
            raise ValueError(
                f"Attention over {in_channels} channels has no hidden layer: give squeeze, or at "
                f"least {_REDUCTION} channels"
            )
        self.fc1 = nn.Linear(in_channels, self.squeeze, bias=bias)
        self.fc2 = nn.Linear(self.squeeze, out_features, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, in_channels, height, width) to weights (batch, out_features) that sum to 1."""
        return self.fc2(self.fc1(x.mean(dim=(-2, -1))).relu()).softmax(dim=-1)
