"""The small CLIP while it is trained: the project's own encoders with a table of the words seen."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prompting.image_encoder import VisionTransformer
from prompting.text_encoder import TextEncoder


@dataclass(frozen=True)
class Dimensions:
    """Sizes of the small CLIP; both transformers have heads of 64 dimensions."""

    resolution: int = 48
    patch: int = 8
    width: int = 128
    vision_layers: int = 4
    text_layers: int = 3
    embed_dim: int = 128
    positions: int = 77


class TrainableCLIP(nn.Module):
    """CLIP (Radford et al. 2021) with a vocabulary of its own.

    ``vocabulary`` is the number of tokens seen; captions come as indices of that table, EOT being the
    last one. Initialised as OpenAI's code does.
    """

    def __init__(self, vocabulary: int, sizes: Dimensions) -> None:
        super().__init__()
        self.sizes = sizes
        self.image = VisionTransformer(
            sizes.resolution, sizes.patch, sizes.width, sizes.vision_layers, sizes.embed_dim
        )
        self.text = TextEncoder(
            vocabulary, sizes.positions, sizes.width, sizes.text_layers, sizes.embed_dim
        )
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self._initialise()

    def _initialise(self) -> None:
        spread = self.sizes.width**-0.5
        for name, parameter in self.named_parameters():
            if "ln_" in name or name == "logit_scale":
                continue
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
        for tower, layers in ((self.image, self.image.layers), (self.text, self.text.layers)):
            for block in tower.transformer.resblocks:
                nn.init.normal_(block.attn.in_proj_weight, std=spread)
                nn.init.normal_(block.attn.out_proj.weight, std=spread * (2 * layers) ** -0.5)
                nn.init.normal_(block.mlp.c_fc.weight, std=(2 * self.sizes.width) ** -0.5)
                nn.init.normal_(block.mlp.c_proj.weight, std=spread * (2 * layers) ** -0.5)
        for parameter in (
            self.image.class_embedding,
            self.image.positional_embedding,
            self.image.proj,
            self.text.text_projection,
        ):
            nn.init.normal_(parameter, std=spread)
        nn.init.normal_(self.text.token_embedding.weight, std=0.02)
        nn.init.normal_(self.text.positional_embedding, std=0.01)

    def encode_text(self, tokens: Tensor, ends: Tensor) -> Tensor:
        """Captions (B, L) with EOT at ``ends`` (B,) -> features (B, embed_dim).

        Captions are padded after EOT; causal attention keeps the padding from every EOT.
        """
        text = self.text
        length = tokens.shape[1]
        x = text.token_embedding(tokens) + text.positional_embedding[:length]
        causal = torch.ones(length, length, dtype=torch.bool, device=x.device).tril()
        for block in text.transformer.resblocks:
            projected = block.attn.query_key_value(block.ln_1(x))
            x = block.add_attended(x, block.attn.attend(*projected, causal))
        return text.ln_final(x[torch.arange(len(x), device=x.device), ends]) @ text.text_projection

    def forward(self, images: Tensor, tokens: Tensor, ends: Tensor) -> Tensor:
        """The contrastive loss of a batch: images (B, 3, H, W) and their captions (B, L)."""
        seen = F.normalize(self.image(images).float(), dim=-1)
        said = F.normalize(self.encode_text(tokens, ends).float(), dim=-1)
        logits = self.logit_scale.exp() * seen @ said.t()
        target = torch.arange(len(logits), device=logits.device)
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.t(), target)) / 2

    def openai_state(self) -> dict[str, Tensor]:
        """The weights under OpenAI's names; the token table holds the tokens seen only."""
        return {_openai_name(name): value.detach() for name, value in self.state_dict().items()}

    def describe(self) -> dict[str, int]:
        """The sizes as plain numbers."""
        return asdict(self.sizes)


def _openai_name(name: str) -> str:
    tower, _, rest = name.partition(".")
    return {"image": f"visual.{rest}", "text": rest}.get(tower, name)
