"""CoPrompt: MaPLe with adapters on its features, consistent with the frozen CLIP on other inputs."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .encoders import normalise
from .maple import MaPLe
from .path import WithFrozenClip


class CoPrompt(WithFrozenClip, MaPLe):
    """The sentences' features are computed once, as published."""

    def __init__(self, trainer, *args) -> None:
        super().__init__(trainer, *args)
        self.described = trainer.described[0].to(self.device)

    def _mix(self, features: Tensor, kind: str, share: float) -> Tensor:
        hidden = self.linear(f"adapter_{kind}.fc.0", features).relu()
        adapted = self.linear(f"adapter_{kind}.fc.2", hidden).relu()
        return share * adapted + (1 - share) * features

    def encode_text(self, context: Tensor | None = None) -> Tensor:
        return self._mix(super().encode_text(context), "text", 0.2)

    def encode_images(self, images: Tensor) -> Tensor:
        return self._mix(super().encode_images(images), "image", 0.1)

    def loss(self, images: tuple[Tensor, Tensor], labels: Tensor) -> Tensor:
        first, second = images
        image, text = normalise(self.encode_images(first)), self.encode_classes()
        away = 1 - F.cosine_similarity(text, self.described).mean()
        away = away + 1 - F.cosine_similarity(image, self.frozen_images(second)).mean()
        cross_entropy = F.cross_entropy(self.logits(image, text), labels)
        return cross_entropy + self.options["WEIGHT"] * away
