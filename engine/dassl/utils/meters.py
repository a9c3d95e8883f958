"""Running averages of what training reports."""

from __future__ import annotations

from collections import defaultdict

import torch

__all__ = ["AverageMeter", "MetricMeter"]


class AverageMeter:
    """The last value, the sum, the count and the mean of a series of numbers.

    Args:
        ema: make ``avg`` an exponential moving average instead of the plain mean.
    """

    _DECAY = 0.9

    def __init__(self, ema: bool = False) -> None:
        self.ema = ema
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.val = 0.0
        self.avg = 0.0
        self.sum = 0.0
        self.count = 0

    def update(self, val: float | torch.Tensor, n: int = 1) -> None:
        """Add ``val``, the mean over ``n`` items."""
        if isinstance(val, torch.Tensor):
            val = val.item()
        first = self.count == 0
        self.val = val
        self.sum += val * n
        self.count += n
        if self.ema and not first:
            self.avg = self._DECAY * self.avg + (1 - self._DECAY) * val
        else:
            self.avg = self.sum / self.count


class MetricMeter:
    """One :class:`AverageMeter` for each name; ``str()`` of it is the log line's middle part."""

    def __init__(self, delimiter: str = " ") -> None:
        self.meters: defaultdict[str, AverageMeter] = defaultdict(AverageMeter)
        self.delimiter = delimiter

    def update(self, input_dict: dict[str, float | torch.Tensor] | None) -> None:
        """Add one value to each named series.

        Raises:
            TypeError: not a dictionary.
        """
        if input_dict is None:
            return
        if not isinstance(input_dict, dict):
            raise TypeError(
                "MetricMeter.update() takes a dictionary of name: number (what forward_backward() "
                f"returns), but got {type(input_dict).__name__}."
            )
        for name, value in input_dict.items():
            self.meters[name].update(value)

    def __str__(self) -> str:
        return self.delimiter.join(
            f"{name} {meter.val:.4f} ({meter.avg:.4f})" for name, meter in self.meters.items()
        )
