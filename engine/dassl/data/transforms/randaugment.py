"""RandAugment of random strength."""

from __future__ import annotations

import torch
from PIL import Image
from torchvision.transforms import RandAugment

__all__ = ["RandomStrengthAugment"]


class RandomStrengthAugment(RandAugment):
    """One random operation of RandAugment, its strength drawn anew for each image.

    The strong augmentation of FixMatch (Sohn et al. 2020, appendix D) applies such operations one
    after the other.
    """

    def __init__(self) -> None:
        super().__init__(num_ops=1)

    def forward(self, img: Image.Image) -> Image.Image:
        """Augment one image."""
        self.magnitude = int(torch.randint(self.num_magnitude_bins, ()))
        return super().forward(img)
