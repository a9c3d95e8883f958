"""Which CLIP and which precision suit a machine, by measuring how fast it is, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from prompting.backbone import load_clip
from prompting.image_encoder import VisionTransformer
from prompting.measured_precision import BATCH, fastest, measure

# resolution, patch, width, layers and embed_dim of OpenAI's image encoders
ENCODERS = {"ViT-B/16": (224, 16, 768, 12, 512), "ViT-B/32": (224, 32, 768, 12, 512)}
PASSES = 1.6
"""A training step in passes of the image encoder: a teacher's forward pass and the texts come to it."""
LONG = 2 * 60 * 60
"""Seconds of training above which the smaller CLIP is taken."""


@dataclass(frozen=True)
class Choice:
    """A CLIP and a precision, and a sentence on each."""

    backbone: str
    precision: str
    reasons: tuple[str, ...]


def choose(
    backbones: Sequence[str], precision: str, steps: Callable[[str], int], device: torch.device
) -> Choice:
    """The first CLIP that trains in bearable time, else the last, in the precision that is fastest.

    Args:
        backbones: names, the best first; one that ENCODERS lacks is loaded to be measured.
        precision: where that was decided; "" to measure.
        steps: of the training with a backbone.
        device: where it will run.

    Raises:
        InputError: a backbone cannot be loaded.
    """
    *larger, smallest = backbones
    reasons: list[str] = []
    for name in larger:
        seconds = measure(*_encoder(name), device)
        chosen = precision or fastest(seconds)
        training = PASSES * steps(name) * seconds.get(chosen, max(seconds.values()))
        if training <= LONG:
            return _choice(reasons, name, chosen, seconds, precision)
        reasons.append(f"{name} would train for about {training / 3600:.1f} hours here")
    seconds = {} if precision else measure(*_encoder(smallest), device)
    return _choice(reasons, smallest, precision or fastest(seconds), seconds, precision)


def _choice(
    reasons: Sequence[str], name: str, chosen: str, seconds: Mapping[str, float], asked: str
) -> Choice:
    times = ", ".join(f"{1000 * value:,.0f} ms in {each}" for each, value in seconds.items())
    why = "as asked" if asked else f"a pass of {BATCH} pictures takes {times}"
    smaller = f" ({', '.join(reasons)}; BACKBONE chooses)" if reasons else ""
    return Choice(name, chosen, (f"CLIP: {name}{smaller}", f"precision: {chosen} ({why})"))


def _encoder(name: str) -> tuple[nn.Module, int]:
    """An image encoder and its resolution. Speed does not depend on weights, so that those of OpenAI's
    are not downloaded for this."""
    if name not in ENCODERS:
        clip = load_clip(name)
        return clip.image, clip.resolution
    encoder = VisionTransformer(*ENCODERS[name])
    with torch.no_grad():
        for each in encoder.parameters():
            # features of ordinary size: numbers near zero would be slow
            each.normal_(std=each[0].numel() ** -0.5) if each.ndim > 1 else each.fill_(0.5)
    return encoder, ENCODERS[name][0]
