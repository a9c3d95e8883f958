"""CLIP's image encoder: a vision transformer that takes deep prompts, or a ResNet as it is."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .steering import ImageSteering
from .transformer import OPENAI, BlockKind, LayerNorm, Transformer


class VisionTransformer(nn.Module):
    """CLIP's vision transformer, open to deep prompts, further tokens and adapters."""

    def __init__(
        self,
        resolution: int,
        patch: int,
        width: int,
        layers: int,
        embed_dim: int,
        kind: BlockKind = OPENAI,
    ) -> None:
        super().__init__()
        self.resolution, self.width = resolution, width
        self.conv1 = nn.Conv2d(3, width, kernel_size=patch, stride=patch, bias=False)
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.positional_embedding = nn.Parameter(torch.empty((resolution // patch) ** 2 + 1, width))
        self.ln_pre = LayerNorm(width)
        self.transformer = Transformer(width, layers, kind)
        self.ln_post = LayerNorm(width)
        self.proj = nn.Parameter(torch.empty(width, embed_dim))

    @property
    def layers(self) -> int:
        return len(self.transformer.resblocks)

    def embed(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) -> tokens (B, 1 + patches, width), where no prompt has acted yet."""
        dtype = self.conv1.weight.dtype
        patches = self.conv1(images.to(dtype)).flatten(2).transpose(1, 2)
        first = self.class_embedding.to(patches.dtype).expand(patches.shape[0], 1, -1)
        tokens = torch.cat([first, patches], dim=1)
        return self.ln_pre(tokens + self.positional_embedding.to(tokens.dtype))

    def encode(self, tokens: Tensor, steering: ImageSteering | None = None) -> Tensor:
        """Tokens of `embed` -> features (B, embed_dim), not normalised."""
        return self.ln_post(self.outputs(tokens, steering)[:, 0]) @ self.proj

    def outputs(self, tokens: Tensor, steering: ImageSteering | None = None) -> Tensor:
        """Tokens of `embed` -> the last block's output at CLS and at the N inserted tokens behind it,
        (B, 1 + N, width)."""
        steering = steering or ImageSteering()
        *body, last = self.transformer.resblocks
        x = tokens
        if steering.embedding_adapter:
            x = x + steering.embedding_adapter(x)
        for index, block in enumerate(body):
            x = block(self._enter(x, index, steering), steering.adapters.get(index))
        x = self._enter(x, len(body), steering)
        return last.first_outputs(x, 1 + steering.num_inserted, steering.adapters.get(len(body)))

    def _enter(self, x: Tensor, layer: int, steering: ImageSteering) -> Tensor:
        """What comes in at the start of a layer."""
        if (prompt := steering.prompts.get(layer)) is not None:
            earlier = [each for each in steering.prompts if each < layer]
            kept = x.shape[1] - (len(steering.prompts[max(earlier)]) if earlier else 0)
            # ln_pre acts on each token alone, so the first layer's prompts meet it here
            prompt = prompt if layer else self.ln_pre(prompt)
            x = torch.cat([x[:, :kept], prompt.to(x.dtype).expand(x.shape[0], -1, -1)], dim=1)
        if (inserted := steering.inserted.get(layer)) is not None:
            kept = 1 if layer == min(steering.inserted) else 1 + len(inserted)
            inserted = inserted.to(x.dtype).expand(x.shape[0], -1, -1)
            x = torch.cat([x[:, :1], inserted, x[:, kept:]], dim=1)
        return x

    def forward(self, images: Tensor, steering: ImageSteering | None = None) -> Tensor:
        """Images (B, 3, H, W) -> features (B, embed_dim), not normalised."""
        return self.encode(self.embed(images), steering)
