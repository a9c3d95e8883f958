"""What goes with the weights of a CLIP and cannot be seen in them."""

from __future__ import annotations

import math
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

    @classmethod
    def read(cls, mean: Any, deviation: Any, interpolation: str | None) -> ImageInput:
        """From the values of a configuration.

        Raises:
            ValueError, TypeError: they are not three numbers each, or a deviation is not positive.
        """
        values = [tuple(map(float, each)) if each else None for each in (mean, deviation)]
        for each in filter(None, values):
            if len(each) != 3 or not all(map(math.isfinite, each)):
                raise ValueError(f"expected three numbers for the channels, not {each}")
        if values[1] and min(values[1]) <= 0:
            raise ValueError(f"a deviation is positive, not {values[1]}")
        return cls(*values, interpolation)


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
