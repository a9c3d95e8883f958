"""What goes with the weights of a CLIP and cannot be seen in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ..transformer import OPENAI, BlockKind

# of the pictures that OpenAI's CLIPs were trained on
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_DEVIATION = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class ImageInput:
    """How pictures become the image encoder's input; None where the model does not say it.

    mean, deviation: of red, green and blue, between 0 and 1. interpolation: bicubic, bilinear or
    nearest.
    """

    mean: tuple[float, ...] | None = None
    deviation: tuple[float, ...] | None = None
    interpolation: str | None = None


@dataclass(frozen=True)
class Description:
    """What a model's configuration says; by default what holds for OpenAI's CLIPs.

    image, text: the blocks of the two encoders; of a ResNet only the heads of its pooling count.
    images: what becomes of a picture first. stated: sizes as the configuration states them, by the
    names that `model.sizes` gives them. notes: what its user should know, in sentences.
    """

    image: BlockKind = OPENAI
    text: BlockKind = OPENAI
    images: ImageInput = ImageInput()
    stated: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pretrained:
    """A model as it was read: weights under OpenAI's names, and its description where it has one."""

    state: Mapping[str, Tensor]
    description: Description | None = None
