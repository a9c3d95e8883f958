"""PromptSRC: IVLP with a frozen CLIP as its teacher, and Gaussian averages of the whole model."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from prompting.averaging import gaussian_weights

from .encoders import normalise
from .ivlp import IVLP
from .path import WithFrozenClip


class PromptSRC(WithFrozenClip, IVLP):
    """The averages are of all weights, the frozen ones too."""

    average: dict[str, Tensor] | None = None

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        image, text = normalise(self.encode_images(images)), self.encode_classes()
        frozen = self.frozen_images(images)
        logits, teacher = self.logits(image, text), self.logits(frozen, self.teacher_text)
        kl = F.kl_div(
            logits.log_softmax(1), teacher.log_softmax(1), reduction="sum", log_target=True
        )
        return (
            F.cross_entropy(logits, labels)
            + self.options["TEXT_LOSS_WEIGHT"] * F.l1_loss(text, self.teacher_text)
            + self.options["IMAGE_LOSS_WEIGHT"] * F.l1_loss(image, frozen)
            + kl / logits.numel()
        )

    @torch.no_grad()
    def end_epoch(self, path: Path) -> None:
        """Add the weighted whole model to the average, and write the checkpoint of an epoch."""
        weight = gaussian_weights(20, self.options["GPA_MEAN"], self.options["GPA_STD"])[0]
        current = {k: weight * v for k, v in copy.deepcopy(self.what_is_saved()).items()}
        if self.average is None:
            self.average = current
        else:
            self.average = {k: v + current[k] for k, v in self.average.items()}
        super().end_epoch(path)
