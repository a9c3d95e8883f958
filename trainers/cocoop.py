"""CoCoOp: conditional prompt learning for vision-language models (Zhou et al., CVPR 2022)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from prompting.backbone import CLIP
from prompting.class_prompts import PromptLayout, class_prompts
from prompting.prompted_clip import PromptedCLIP, PromptLearner, normalise

from .coop import CoOp, starting_context
from .registry import register

# suffix tokens encoded at once in evaluation, which bounds memory: about 1 GB at ViT-B/16 size
TOKENS_AT_ONCE = 32768


class ConditionalPromptLearner(PromptLearner):
    """A context that every image shifts: ctx_m(x) = ctx_m + meta_net(x) (equation 2)."""

    def __init__(self, ctx: Tensor, image_dim: int) -> None:
        super().__init__(ctx)
        self.meta_net = nn.Sequential()
        self.meta_net.add_module("linear1", nn.Linear(image_dim, image_dim // 16))
        self.meta_net.add_module("relu", nn.ReLU(inplace=True))
        self.meta_net.add_module("linear2", nn.Linear(image_dim // 16, ctx.shape[-1]))

    def forward(self, image_features: Tensor) -> Tensor:
        """Normalised image features (B, embed_dim) -> contexts (B, M, text width)."""
        return self.ctx + self.meta_net(image_features)[:, None]

    def published_names(self) -> dict[str, nn.Parameter]:
        network = {f"prompt_learner.meta_net.{k}": v for k, v in self.meta_net.named_parameters()}
        return {**super().published_names(), **network}


class ConditionalCLIP(PromptedCLIP):
    """CLIP with one set of class features for every image."""

    def forward(self, images: Tensor) -> Tensor:
        image_features = self.encode_images(images)
        contexts = self.prompt_learner(image_features)
        at_once = len(images)
        if not torch.is_grad_enabled():
            at_once = max(1, TOKENS_AT_ONCE // len(self.layout.suffix))
        logits = [
            self._logits(*chunk)
            for chunk in zip(image_features.split(at_once), contexts.split(at_once), strict=True)
        ]
        return torch.cat(logits)

    def _logits(self, image_features: Tensor, contexts: Tensor) -> Tensor:
        class_features = normalise(self.clip.text(self.layout, contexts))
        similarity = (class_features @ image_features[:, :, None]).squeeze(-1)
        return self.clip.logit_scale.exp() * similarity


@register
class CoCoOp(CoOp):
    """CoOp with a context that depends on the image, which keeps more of what CLIP knows."""

    node = "COCOOP"
    model_class = ConditionalCLIP

    def build_prompts(self, clip: CLIP, names: list[str]) -> tuple[PromptLearner, PromptLayout]:
        options = self.options
        context, self.prefix = starting_context(clip, options.CTX_INIT, options.N_CTX)
        learner = ConditionalPromptLearner(context, clip.embed_dim)
        return learner, class_prompts(names, self.prefix, len(context))

    def describe_prompts(self) -> dict[str, Any]:
        return {"context_length": len(self.model.prompt_learner.ctx), "prefix": self.prefix}
