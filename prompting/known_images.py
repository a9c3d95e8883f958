"""Images whose features under a frozen encoder are known already."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Size, Tensor


@dataclass(frozen=True)
class KnownImages:
    """A batch of images in place of their pixels alone.

    features: (B, embed_dim), what the frozen image encoder gives, not normalised. pixels: (B, 3, H, W);
    None where nobody needs them.
    """

    features: Tensor
    pixels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.features)

    @property
    def shape(self) -> Size:
        """Of the pixels, else of the features: what tells batches of one form from others."""
        return self.features.shape if self.pixels is None else self.pixels.shape


Images = Tensor | KnownImages
