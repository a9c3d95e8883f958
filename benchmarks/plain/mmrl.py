"""MMRL: tokens of one shared space that enter both encoders in their upper layers."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from .encoders import Acts, image_tokens, normalise, put, text_features
from .path import WithFrozenClip


class MMRL(WithFrozenClip):
    """A second image feature comes of what the image encoder makes of the tokens."""

    saves_whole_model = True

    def __init__(self, *args) -> None:
        super().__init__(*args)
        self.layers = [layer - 1 for layer in self.options["REP_LAYERS"]]
        self.count, length = self.options["N_REP_TOKENS"], len(self.clip.positional_embedding)
        # the prompts grow by the tokens, and with them the causal masks
        mask = torch.full((length + self.count,) * 2, -torch.inf, device=self.device).triu_(1)
        for block in self.clip.transformer.resblocks[self.layers[0] :]:
            block.attn_mask = mask

    def text_acts(self) -> Acts:
        return self._entering("r2t")

    def image_acts(self) -> Acts:
        return self._entering("r2v")

    def _entering(self, direction: str) -> Acts:
        tokens = self.learned["representation_learner.compound_rep_tokens"]
        maps = f"representation_learner.compound_rep_tokens_{direction}proj"
        enter = {}
        for index, layer in enumerate(self.layers):
            vectors = self.linear(f"{maps}.{index}", tokens)
            replaced = self.count if index else 0
            enter[layer] = partial(put, vectors=vectors, start=1, replaced=replaced)
        return Acts(enter=enter)

    def encode_text(self, context: Tensor | None = None) -> Tensor:
        return text_features(self.clip, self.embedded, self.eot + self.count, self.text_acts())

    def encode_both(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised class and representation features, (B, embed_dim) each."""
        tokens = image_tokens(self.clip, images, self.image_acts())
        tokens = self.clip.visual.ln_post(tokens[: 1 + self.count])
        projection = self.learned["image_encoder.proj_rep"].to(tokens.dtype)
        features = tokens[0] @ self.clip.visual.proj, tokens[1:].mean(0) @ projection
        return normalise(features[0]), normalise(features[1])

    def logits(self, image: Tensor, text: Tensor) -> Tensor:
        return 100 * image @ text.t()

    def _weighed(self, of_class: Tensor, of_representation: Tensor) -> Tensor:
        alpha = self.options["ALPHA"]
        return alpha * of_class + (1 - alpha) * of_representation

    def __call__(self, images: Tensor) -> Tensor:
        text = self.encode_classes()
        return self._weighed(*(self.logits(each, text) for each in self.encode_both(images)))

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        text, frozen = self.encode_classes(), self.frozen_images(images)
        both = self.encode_both(images)
        losses = (F.cross_entropy(self.logits(each, text), labels) for each in both)
        away = 1 - F.cosine_similarity(both[0], frozen).mean()
        away = away + 1 - F.cosine_similarity(text, self.teacher_text).mean()
        return self._weighed(*losses) + self.options["REG_WEIGHT"] * away
