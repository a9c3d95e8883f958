"""Gaussian-weighted averaging of prompts over training (PromptSRC, section 3.2.2)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from .errors import InputError


def gaussian_weights(epochs: int, mean: float, std: float) -> list[float]:
    """w_t proportional to N(t; mean, std^2) for epochs t = 1..E, summing to 1."""
    distances = [(epoch - mean) / std for epoch in range(1, epochs + 1)]
    density = [math.exp(-(each * each) / 2) for each in distances]  # ** raises where * is infinite
    total = sum(density)
    if not total:
        raise InputError(
            f"the Gaussian with mean {mean} and standard deviation {std} gives no weight to any of "
            f"the epochs 1 to {epochs}: choose GPA_MEAN within them or a larger GPA_STD"
        )
    return [value / total for value in density]


class GaussianAverage:
    """The running sum of w_t times the prompts after epoch t, kept on the CPU."""

    def __init__(self, epochs: int, mean: float, std: float) -> None:
        self.weights = gaussian_weights(epochs, mean, std)
        self.total = 0.0
        self.sums: dict[str, Tensor] = {}

    @torch.no_grad()
    def update(self, epoch: int, tensors: Mapping[str, Tensor]) -> None:
        """Add the tensors as they are after an epoch, counted from 1."""
        weight = self.weights[epoch - 1]
        self.total += weight
        for name, tensor in tensors.items():
            share = weight * tensor.detach().cpu()
            self.sums[name] = self.sums[name] + share if name in self.sums else share

    def average(self) -> dict[str, Tensor]:
        """The weighted mean so far: the weights of a part of the epochs do not sum to 1."""
        if not self.total:
            raise InputError("no epoch so far has any weight in the average")
        return {name: value / self.total for name, value in self.sums.items()}

    def state_dict(self) -> dict[str, object]:
        return {"total": self.total, "sums": self.sums}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        self.total, self.sums = state["total"], dict(state["sums"])
