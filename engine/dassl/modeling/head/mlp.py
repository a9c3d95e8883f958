"""Fully connected layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from dassl.utils import InputError, check_availability
from torch import nn

from .build import HEAD_REGISTRY

__all__ = ["MLP", "mlp"]

_ACTIVATIONS = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "gelu": nn.GELU, "tanh": nn.Tanh}


class MLP(nn.Module):
    """Linear layers, each followed by batch normalisation, an activation and dropout.

    Args:
        in_features: width of the input.
        hidden_layers: widths of the layers; the last is ``out_features``.
        activation: relu, leaky_relu, gelu or tanh.
        bn: with batch normalisation.
        dropout: probability of dropping a value.

    Raises:
        InputError: no layers, or an unknown activation.
    """

    def __init__(
        self,
        in_features: int,
        hidden_layers: Sequence[int] | int = (),
        activation: str = "relu",
        bn: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        widths = [hidden_layers] if isinstance(hidden_layers, int) else list(hidden_layers)
        if not widths:
            raise InputError(
                "The mlp head needs MODEL.HEAD.HIDDEN_LAYERS, the widths of its layers"
            )
        check_availability(activation, _ACTIVATIONS)
        layers: list[nn.Module] = []
        for width in widths:
            layers.append(nn.Linear(in_features, width))
            if bn:
                layers.append(nn.BatchNorm1d(width))
            layers.append(_ACTIVATIONS[activation]())
            if dropout > 0:
                layers.append(nn.Dropout(dropout))
            in_features = width
        self.layers = nn.Sequential(*layers)
        self.out_features = in_features

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, in_features) to (batch, out_features)."""
        return self.layers(x)


@HEAD_REGISTRY.register()
def mlp(**kwargs: Any) -> MLP:
    """The head of that name."""
    return MLP(**kwargs)
