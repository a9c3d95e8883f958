"""A prompted CLIP that knows more of the classes it was trained on than their texts say."""

from __future__ import annotations

from torch import Tensor

from .prompted_clip import PromptedCLIP


class FusedCLIP(PromptedCLIP):
    """Logits fused with others where all classes are among those trained on.

    `fusion_weight` is the share of the others, from 0 to 1. While the learner is in training mode, and
    for classes that it was not trained on, `forward` gives the similarities alone.
    """

    knows_trained_classes = True
    fusion_weight = 0.0

    def further_logits(self, rows: list[int]) -> Tensor:
        """The other logits (B, C) of the images that were encoded last.

        Args:
            rows: for every class its place among those trained on.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say what it fuses")

    def forward(self, images: Tensor) -> Tensor:
        similarity = super().forward(images)
        if self.prompt_learner.training or (rows := self.trained_rows()) is None:
            return similarity
        further = self.further_logits(rows)
        return (1 - self.fusion_weight) * similarity + self.fusion_weight * further
