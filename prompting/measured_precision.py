"""Which precision a machine computes a CLIP fastest in, by a short measurement of its image encoder."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping

import torch
from torch import nn

from .precision import resolve_precision

CANDIDATES: Mapping[str, tuple[str, ...]] = {"cpu": ("fp32", "bf16"), "cuda": ("fp16", "amp")}
"""By device, the precision to prefer and what may be faster."""
FASTER = 0.8
"""Another precision than the preferred one is taken where it needs at most this share of its time."""
SHORT = 0.05
"""Seconds; where a pass takes less, the preferred precision is fast enough."""
BATCH = 4
REPEATS = 4
PATIENCE = 4.0
"""Seconds after which no further pass is timed."""


def seconds_per_pass(
    image_encoder: nn.Module, resolution: int, precision: str, device: torch.device
) -> float:
    """The least of a few forward and backward passes of an image encoder on BATCH images.

    Args:
        image_encoder: in fp32; it is left as it is.
        resolution: pixels on a side.
        precision: its name.
        device: where it runs.
    """
    chosen = resolve_precision(precision, device)
    encoder = copy.deepcopy(image_encoder)
    chosen.cast(encoder)
    encoder.to(device)
    source = torch.Generator().manual_seed(0)
    images = torch.randn(BATCH, 3, resolution, resolution, generator=source)
    images = images.to(device, chosen.weights).requires_grad_()
    seconds: list[float] = []
    while len(seconds) < REPEATS and sum(seconds) < PATIENCE:
        _wait(device)
        start = time.perf_counter()
        with chosen.autocast():
            features = encoder(images)
        features.float().sum().backward()
        _wait(device)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def measure(image_encoder: nn.Module, resolution: int, device: torch.device) -> dict[str, float]:
    """`seconds_per_pass` of every precision that this kind of device may be fast in."""
    return {
        name: seconds_per_pass(image_encoder, resolution, name, device)
        for name in CANDIDATES[device.type]
    }


def fastest(seconds: Mapping[str, float]) -> str:
    """The precision to take by what `measure` gave: the preferred one, where no other is clearly
    faster."""
    preferred, *others = seconds
    if seconds[preferred] < SHORT:
        return preferred
    faster = [name for name in others if seconds[name] <= FASTER * seconds[preferred]]
    return min(faster, key=seconds.__getitem__, default=preferred)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
