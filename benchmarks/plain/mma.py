"""MMA: adapters beside the upper blocks of both encoders."""

from __future__ import annotations

from functools import partial

import torch.nn.functional as F
from torch import Tensor

from .encoders import Acts
from .path import PlainPath


class MultiModalAdapter(PlainPath):
    """The adapters' own gradient is that of A(h), what flows on to h has the scale."""

    def text_acts(self) -> Acts:
        return self._beside("text")

    def image_acts(self) -> Acts:
        return self._beside("visual")

    def _beside(self, side: str) -> Acts:
        layers = range(self.options["ADAPTER_START"], self.options["ADAPTER_END"] + 1)
        return Acts(beside={k - 1: partial(self._adapter, side, k) for k in layers})

    def _adapter(self, side: str, layer: int, h: Tensor) -> Tensor:
        names = f"{side}_adapter.{layer}.down.0", f"shared_adapter.{layer}.0"
        names = [f"adapter_learner.{name}" for name in (*names, f"{side}_adapter.{layer}.up")]
        maps = [[self.learned[f"{name}.{part}"] for part in ("weight", "bias")] for name in names]

        def bottleneck(x: Tensor, maps: list[list[Tensor]]) -> Tensor:
            down, shared, up = ([tensor.to(x.dtype) for tensor in pair] for pair in maps)
            return F.linear(F.relu(F.linear(F.relu(F.linear(x, *down)), *shared)), *up)

        frozen = [[tensor.detach() for tensor in pair] for pair in maps]
        own = bottleneck(h.detach(), maps)
        return self.options["ADAPTER_SCALE"] * bottleneck(h, frozen) + (own - own.detach())
