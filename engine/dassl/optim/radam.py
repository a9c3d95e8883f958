"""RAdam as Dassl has it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

__all__ = ["RAdam"]

# from this length of its moving average on, RAdam trusts the second moment
_LEAST_LENGTH = 5


class RAdam(torch.optim.RAdam):
    """torch's RAdam (Liu et al. 2020) with the weight decay apart from the gradient, as its authors
    published it.

    Args:
        params: parameters or groups.
        lr: learning rate.
        betas: decay of the first and the second moment.
        eps: keeps the denominator from zero.
        weight_decay: share of lr by which weights shrink in each step.
        degenerated_to_sgd: in the first steps, which are too few for a second moment, step by the
            first moment alone; otherwise do not step.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        degenerated_to_sgd: bool = True,
    ) -> None:
        self.degenerated_to_sgd = degenerated_to_sgd
        super().__init__(params, lr, betas, eps, weight_decay, decoupled_weight_decay=True)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step; gives what ``closure`` gives."""
        if self.degenerated_to_sgd:
            return super().step(closure)
        kept = [
            (parameter, parameter.detach().clone())
            for group in self.param_groups
            for parameter in group["params"]
            if self._length(parameter, group["betas"][1]) < _LEAST_LENGTH
        ]
        result = super().step(closure)
        with torch.no_grad():
            for parameter, value in kept:
                parameter.copy_(value)
        return result

    def _length(self, parameter: torch.Tensor, decay: float) -> float:
        """Length of the moving average of the second moment after the coming step."""
        step = int(self.state.get(parameter, {}).get("step", 0)) + 1
        longest = 2 / (1 - decay) - 1
        return longest - 2 * step * decay**step / (1 - decay**step)
