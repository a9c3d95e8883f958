"""KgCoOp: CoOp kept close to a template's features."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .coop import CoOp


class KgCoOp(CoOp):
    """The template's features are computed once, as published."""

    def regularisation(self, image: Tensor, text: Tensor) -> Tensor:
        return self.options["WEIGHT"] * (1 - F.cosine_similarity(text, self.teacher_text).mean())
