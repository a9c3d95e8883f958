"""CoCoOp: a context for every image, one image after the other."""

from __future__ import annotations

import torch
from torch import Tensor

from .encoders import normalise
from .path import PlainPath


class CoCoOp(PlainPath):
    """ctx + meta_net(x) for every image x, and all classes under it."""

    conditional = True

    def __call__(self, images: Tensor) -> Tensor:
        features = normalise(self.encode_images(images))
        hidden = self.linear("prompt_learner.meta_net.linear1", features).relu()
        shifts = self.linear("prompt_learner.meta_net.linear2", hidden)
        context = self.learned["prompt_learner.ctx"]
        logits = [
            self.logits(feature, normalise(self.encode_text(context + shift)))
            for feature, shift in zip(features, shifts, strict=True)
        ]
        return torch.stack(logits)

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        return torch.nn.functional.cross_entropy(self(images), labels)
