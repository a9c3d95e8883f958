"""Batch normalisation for a source and a target domain."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["TransNorm1d", "TransNorm2d"]


class _TransferableNorm(nn.Module):
    """Normalises source and target by statistics of their own, and raises the channels in which the
    two agree (Wang et al., NeurIPS 2019).

    In training the first half of a batch is the source and the second the target; in evaluation all
    of it is the target.

    Args:
        num_features: features or channels.
        eps: keeps deviations from zero.
        momentum: share of the old value when running statistics are updated.
        adaptive_alpha: raise the channels that agree.
    """

    dimensions: int

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        adaptive_alpha: bool = True,
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.adaptive_alpha = adaptive_alpha
        for domain in "st":
            self.register_buffer(f"running_mean_{domain}", torch.zeros(num_features))
            self.register_buffer(f"running_var_{domain}", torch.ones(num_features))
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalised ``x``, of the same shape.

        Raises:
            ValueError: ``x`` has the wrong number of dimensions.
        """
        if x.dim() != self.dimensions:
            raise ValueError(
                f"{type(self).__name__} takes {self.dimensions} dimensions, but got shape "
                f"{tuple(x.shape)}"
            )
        if self.training:
            parts = x.split(len(x) // 2)
            source, target = (self._update(d, part) for d, part in zip("st", parts, strict=True))
            output = torch.cat(
                [self._normalise(part, *s) for part, s in zip(parts, (source, target), strict=True)]
            )
        else:
            source = self.running_mean_s, self.running_var_s
            target = self.running_mean_t, self.running_var_t
            output = self._normalise(x, *target)
        if not self.adaptive_alpha:
            return output
        return output * (1 + self._as_channels(self._agreement(source, target)).detach())

    def _as_channels(self, values: torch.Tensor) -> torch.Tensor:
        return values.reshape(1, -1, *[1] * (self.dimensions - 2))

    def _update(self, domain: str, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and variance of each channel, which also go into the running ones."""
        variance, mean = torch.var_mean(x.transpose(0, 1).flatten(1), dim=1)
        for name, value in (("mean", mean), ("var", variance)):
            running = getattr(self, f"running_{name}_{domain}")
            running.mul_(self.momentum).add_((1 - self.momentum) * value.detach())
        return mean, variance

    def _normalise(
        self, x: torch.Tensor, mean: torch.Tensor, variance: torch.Tensor
    ) -> torch.Tensor:
        shape = self._as_channels
        normalised = (x - shape(mean)) / shape((variance + self.eps).sqrt())
        return normalised * shape(self.weight) + shape(self.bias)

    def _agreement(
        self, source: tuple[torch.Tensor, torch.Tensor], target: tuple[torch.Tensor, torch.Tensor]
    ) -> torch.Tensor:
        """For each channel, 1 on average, the more the nearer its statistics are."""
        ratios = [mean / (variance + self.eps).sqrt() for mean, variance in (source, target)]
        nearness = 1 / (1 + (ratios[0] - ratios[1]).abs())
        return self.num_features * nearness / nearness.sum()


class TransNorm1d(_TransferableNorm):
    """For features (batch, num_features)."""

    dimensions = 2


class TransNorm2d(_TransferableNorm):
    """For feature maps (batch, num_features, height, width)."""

    dimensions = 4
