"""CoCoOp: conditional prompt learning for vision-language models (Zhou et al., CVPR 2022)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from prompting.backbone import CLIP
from prompting.known_images import Images
from prompting.learner import DeepPrompts, PromptLearner
from prompting.prompted_clip import PromptedCLIP, normalise
from prompting.steering import TextSteering

from .coop import CoOp
from .registry import register

# suffix tokens encoded at once in evaluation, which bounds memory: about 1 GB at ViT-B/16 size
TOKENS_AT_ONCE = 32768


class ConditionalPromptLearner(DeepPrompts):
    """A context that every image shifts: ctx_m(x) = ctx_m + meta_net(x) (equation 2)."""

    def __init__(self, ctx: Tensor, image_dim: int) -> None:
        super().__init__(ctx)
        self.meta_net = nn.Sequential()
        self.meta_net.add_module("linear1", nn.Linear(image_dim, image_dim // 16))
        self.meta_net.add_module("relu", nn.ReLU(inplace=True))
        self.meta_net.add_module("linear2", nn.Linear(image_dim // 16, ctx.shape[-1]))

    def steer_text(self, image_features: Tensor | None = None) -> TextSteering:
        """One context an image, (B, M, text width); without images the one that they shift."""
        if image_features is None:
            return super().steer_text()
        return TextSteering(context=self.ctx + self.meta_net(image_features)[:, None])

    def published_names(self) -> dict[str, str]:
        return PromptLearner.published_names(self)


class ConditionalCLIP(PromptedCLIP):
    """CLIP with one set of class features for every image."""

    text_depends_on_image = True

    def forward(self, images: Images) -> Tensor:
        image_features = self.encode_images(images)
        at_once = len(image_features)
        if not torch.is_grad_enabled():
            at_once = max(1, TOKENS_AT_ONCE // len(self.layout.suffix))
        return torch.cat([self._logits(chunk) for chunk in image_features.split(at_once)])

    def _logits(self, image_features: Tensor) -> Tensor:
        steering = self.prompt_learner.steer_text(image_features)
        class_features = normalise(self.clip.text(self.layout, steering))
        similarity = (class_features @ image_features[:, :, None]).squeeze(-1)
        return self.clip.logit_scale.exp() * similarity


@register
class CoCoOp(CoOp):
    """CoOp with a context that depends on the image, which keeps more of what CLIP knows."""

    node = "COCOOP"
    defaults = {"N_CTX": 16, "CTX_INIT": "", "PREC": "fp16"}
    model_class = ConditionalCLIP

    def build_learner(self, clip: CLIP, names: Sequence[str]) -> PromptLearner:
        return ConditionalPromptLearner(self.starting_context(clip), clip.embed_dim)
