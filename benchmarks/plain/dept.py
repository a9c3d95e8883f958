"""DePT: another method, with a linear head on mapped raw features of both encoders."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .coop import CoOp
from .encoders import normalise
from .kgcoop import KgCoOp
from .maple import MaPLe
from .path import PlainPath


class DePT(PlainPath):
    """Put before a method, as its trainer is."""

    saves_whole_model = True

    def head(self, features: Tensor, kind: str) -> Tensor:
        """Logits (N, C) of raw features under the map for "img" or "text"."""
        scale, bias = (self.learned[f"film_lp_{kind}.{name}"] for name in ("scale", "bias"))
        return self.linear("linear_probe_proj", scale * features.float() + bias)

    def __call__(self, images: Tensor) -> Tensor:
        features, weight = self.encode_images(images), self.options["HEAD_WEIGHT"]
        similarity = self.logits(normalise(features), self.encode_classes())
        return (1 - weight) * similarity + weight * self.head(features, "img")

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        raw_image, raw_text = self.encode_images(images), self.encode_text()
        image, text = normalise(raw_image), normalise(raw_text)
        cross_entropy = F.cross_entropy(self.logits(image, text), labels)
        rows = torch.cat([self.head(raw_text[labels], "text"), self.head(raw_image, "img")])
        of_head, weight = F.cross_entropy(rows, labels.repeat(2)), self.options["HEAD_WEIGHT"]
        return (1 - weight) * cross_entropy + weight * of_head + self.regularisation(image, text)


class DePTCoOp(DePT, CoOp):
    """DePT on CoOp."""


class DePTKgCoOp(DePT, KgCoOp):
    """DePT on KgCoOp."""


class DePTMaPLe(DePT, MaPLe):
    """DePT on MaPLe."""
