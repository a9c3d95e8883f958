"""CLIP's image encoder: a vision transformer that takes deep prompts, or a ResNet as it is."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .transformer import LayerNorm, Transformer


class VisionTransformer(nn.Module):
    """CLIP's vision transformer with room for deep visual prompts (IVLP; Jia et al. 2022).

    Prompts are appended after the patch tokens once positions are added and get no position
    themselves; at the start of each further prompted layer that layer's own vectors take their place.
    """

    def __init__(
        self, resolution: int, patch: int, width: int, layers: int, embed_dim: int
    ) -> None:
        super().__init__()
        self.resolution, self.width = resolution, width
        self.conv1 = nn.Conv2d(3, width, kernel_size=patch, stride=patch, bias=False)
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.positional_embedding = nn.Parameter(torch.empty((resolution // patch) ** 2 + 1, width))
        self.ln_pre = LayerNorm(width)
        self.transformer = Transformer(width, layers)
        self.ln_post = LayerNorm(width)
        self.proj = nn.Parameter(torch.empty(width, embed_dim))

    @property
    def layers(self) -> int:
        return len(self.transformer.resblocks)

    def embed(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) -> tokens (B, 1 + patches, width), where no prompt has acted yet."""
        dtype = self.conv1.weight.dtype
        patches = self.conv1(images.to(dtype)).flatten(2).transpose(1, 2)
        first = self.class_embedding.to(patches.dtype).expand(len(patches), 1, -1)
        tokens = torch.cat([first, patches], dim=1)
        return self.ln_pre(tokens + self.positional_embedding.to(tokens.dtype))

    def encode(self, tokens: Tensor, prompts: Sequence[Tensor] = ()) -> Tensor:
        """Tokens of `embed` -> features (B, embed_dim), under prompts (N, width), one per layer."""
        *body, last = self.transformer.resblocks
        x = tokens
        for index, block in enumerate(body):
            x = block(self._insert(x, tokens.shape[1], index, prompts))
        x = last.first_output(self._insert(x, tokens.shape[1], len(body), prompts))
        return self.ln_post(x[:, 0]) @ self.proj

    def _insert(self, x: Tensor, kept: int, layer: int, prompts: Sequence[Tensor]) -> Tensor:
        if layer >= len(prompts):
            return x
        # ln_pre acts on each token alone, so the first layer's prompts meet it here
        prompt = prompts[layer] if layer else self.ln_pre(prompts[layer])
        return torch.cat([x[:, :kept], prompt.to(x.dtype).expand(len(x), -1, -1)], dim=1)

    def forward(self, images: Tensor, prompts: Sequence[Tensor] = ()) -> Tensor:
        """Images (B, 3, H, W) -> features (B, embed_dim), not normalised."""
        return self.encode(self.embed(images), prompts)
