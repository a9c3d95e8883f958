"""MixStyle, and what all layers that mix the styles of images share."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from dassl.utils import check_availability
from torch import nn

__all__ = [
    "MixStyle",
    "StyleMixing",
    "activate_mixstyle",
    "crossdomain_mixstyle",
    "deactivate_mixstyle",
    "random_mixstyle",
    "run_with_mixstyle",
    "run_without_mixstyle",
]

_WAYS = ("random", "crossdomain")


class StyleMixing(nn.Module):
    """In training, now and then, gives each image of a batch some of another image's style.

    Args:
        p: how often a batch is mixed.
        alpha: both parameters of the Beta distribution of an image's share in its own style.
        eps: keeps standard deviations from zero.
        mix: ``random`` takes the other image from the whole batch; ``crossdomain`` from the other
            half of the batch, which then holds another domain.

    Raises:
        ValueError: unknown ``mix``.
    """

    def __init__(
        self, p: float = 0.5, alpha: float = 0.1, eps: float = 1e-6, mix: str = "random"
    ) -> None:
        super().__init__()
        self.p = p
        self.alpha = alpha
        self.eps = eps
        self.beta = torch.distributions.Beta(alpha, alpha)
        self.update_mix_method(mix)
        self._activated = True

    def extra_repr(self) -> str:
        return f"p={self.p}, alpha={self.alpha}, eps={self.eps}, mix={self.mix}"

    def set_activation_status(self, status: bool = True) -> None:
        """Mix from now on, or do not."""
        self._activated = status

    def update_mix_method(self, mix: str = "random") -> None:
        """Choose where the other image comes from."""
        check_availability(mix, _WAYS)
        self.mix = mix

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Feature maps (batch, channels, height, width), of the same shape."""
        if not self.training or not self._activated or random.random() > self.p:
            return x
        share = self.beta.sample((len(x), 1, 1, 1)).to(x.device)
        return self.mix_styles(x, self._others(len(x)), share)

    def mix_styles(
        self, x: torch.Tensor, others: torch.Tensor, share: torch.Tensor
    ) -> torch.Tensor:
        """``x`` with ``share`` (batch, 1, 1, 1) of its style and the rest that of ``x[others]``."""
        raise NotImplementedError

    def _others(self, batch: int) -> torch.Tensor:
        if self.mix == "random":
            return torch.randperm(batch)
        # the later half for the earlier images, and the earlier half for the later ones
        halves = torch.arange(batch - 1, -1, -1).chunk(2)
        return torch.cat([half[torch.randperm(len(half))] for half in halves])


def switch(kind: type[StyleMixing], status: bool, module: nn.Module) -> None:
    """Switch ``module`` on or off if it is of that kind; ``model.apply`` reaches all of a model."""
    if isinstance(module, kind):
        module.set_activation_status(status)


def choose(kind: type[StyleMixing], mix: str, module: nn.Module) -> None:
    """Let ``module`` mix in that way if it is of that kind."""
    if isinstance(module, kind):
        module.update_mix_method(mix)


@contextmanager
def run_without(kind: type[StyleMixing], model: nn.Module) -> Iterator[None]:
    """A block in which the model's layers of that kind are off; afterwards they are on."""
    model.apply(partial(switch, kind, False))
    try:
        yield
    finally:
        model.apply(partial(switch, kind, True))


@contextmanager
def run_with(kind: type[StyleMixing], model: nn.Module, mix: str | None = None) -> Iterator[None]:
    """A block in which the model's layers of that kind are on, and mix in the way ``mix`` where it
    is given; afterwards they are off."""
    if mix is not None:
        model.apply(partial(choose, kind, mix))
    model.apply(partial(switch, kind, True))
    try:
        yield
    finally:
        model.apply(partial(switch, kind, False))


class MixStyle(StyleMixing):
    """Style as the mean and deviation of each channel (Zhou et al., ICLR 2021)."""

    def mix_styles(
        self, x: torch.Tensor, others: torch.Tensor, share: torch.Tensor
    ) -> torch.Tensor:
        """``x`` with means and deviations between its own and those of ``x[others]``."""
        variance, mean = torch.var_mean(x, dim=(2, 3), keepdim=True)
        mean, deviation = mean.detach(), (variance + self.eps).sqrt().detach()
        new_mean = share * mean + (1 - share) * mean[others]
        new_deviation = share * deviation + (1 - share) * deviation[others]
        return (x - mean) / deviation * new_deviation + new_mean


activate_mixstyle = partial(switch, MixStyle, True)
deactivate_mixstyle = partial(switch, MixStyle, False)
random_mixstyle = partial(choose, MixStyle, "random")
crossdomain_mixstyle = partial(choose, MixStyle, "crossdomain")
run_with_mixstyle = partial(run_with, MixStyle)
run_without_mixstyle = partial(run_without, MixStyle)
