"""Layers in a row that take and give several values."""

from __future__ import annotations

from typing import Any

from torch import nn

__all__ = ["Sequential2"]


class Sequential2(nn.Sequential):
    """nn.Sequential for layers with several inputs: a tuple is spread over the next one's."""

    def forward(self, *inputs: Any) -> Any:
        """What the last layer gives."""
        for layer in self:
            inputs = layer(*inputs) if isinstance(inputs, tuple) else layer(inputs)
        return inputs
