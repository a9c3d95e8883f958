"""Small functions of semi-supervised training."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

__all__ = [
    "create_onehot",
    "ema_model_update",
    "linear_rampup",
    "reverse_index",
    "sharpen_prob",
    "shuffle_index",
    "sigmoid_rampup",
]

# exponent at the start of a sigmoid-shaped ramp (Laine and Aila 2017)
_STEEPNESS = 5.0


def sharpen_prob(p: torch.Tensor, temperature: float = 2) -> torch.Tensor:
    """Probabilities (batch, classes) to the power of ``temperature``, each row summing to 1."""
    powers = p.pow(temperature)
    return powers / powers.sum(1, keepdim=True)


def reverse_index(data: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both from last to first."""
    return data.flip(0), label.flip(0)


def shuffle_index(data: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both in one new random order."""
    order = torch.randperm(len(data))
    return data[order], label[order]


def create_onehot(label: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Labels (batch,) as fp32 rows (batch, num_classes) with a single 1."""
    return F.one_hot(label, num_classes).float()


def _progress(current: float, length: float) -> float:
    if length <= 0:
        raise ValueError(f"The length of a ramp is {length}: expected a number above 0")
    return min(max(current / length, 0.0), 1.0)


def sigmoid_rampup(current: float, rampup_length: float) -> float:
    """A weight that rises from exp(-5) to 1 over ``rampup_length`` steps or epochs.

    Raises:
        ValueError: ``rampup_length`` is not positive.
    """
    return math.exp(-_STEEPNESS * (1 - _progress(current, rampup_length)) ** 2)


def linear_rampup(current: float, rampup_length: float) -> float:
    """A weight that rises from 0 to 1 over ``rampup_length`` steps or epochs.

    Raises:
        ValueError: ``rampup_length`` is not positive.
    """
    return _progress(current, rampup_length)


@torch.no_grad()
def ema_model_update(model: nn.Module, ema_model: nn.Module, alpha: float) -> None:
    """Move the parameters of ``ema_model`` to ``alpha`` of themselves plus the rest of ``model``'s."""
    for average, parameter in zip(ema_model.parameters(), model.parameters(), strict=True):
        average.mul_(alpha).add_(parameter, alpha=1 - alpha)
