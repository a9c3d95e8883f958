"""MaPLe: multi-modal prompt learning (Khattak et al., CVPR 2023)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from prompting.backbone import CLIP
from prompting.learner import PromptLearner, random_vectors
from prompting.steering import ImageSteering, TextSteering

from .ivlp import DeepPromptTrainer
from .registry import register


class CoupledPrompts(PromptLearner):
    """Deep text prompts, and image prompts that are linear maps of them, one map a layer (section 3.3).

    Args:
        ctx: (M, text width), the context at the text encoder's input.
        layers: how many further layers are prompted.
        clip: for the widths.
    """

    def __init__(self, ctx: Tensor, layers: int, clip: CLIP) -> None:
        super().__init__()
        (count, width), image_width = ctx.shape, clip.image.width
        self.ctx = nn.Parameter(ctx)
        self.proj = nn.Linear(width, image_width)
        deeper = [nn.Parameter(random_vectors(count, width)) for _ in range(layers)]
        self.compound_prompts_text = nn.ParameterList(deeper)
        maps = [nn.Linear(width, image_width) for _ in range(layers)]
        self.compound_prompt_projections = nn.ModuleList(maps)

    def steer_text(self, image_features: Tensor | None = None) -> TextSteering:
        deeper: Mapping[int, Tensor] = dict(enumerate(self.compound_prompts_text, start=1))
        return TextSteering(context=self.ctx, prompts=deeper)

    def steer_image(self) -> ImageSteering:
        maps, texts = self.compound_prompt_projections, self.compound_prompts_text
        deeper = [each(text) for each, text in zip(maps, texts, strict=True)]
        return ImageSteering(prompts=dict(enumerate([self.proj(self.ctx), *deeper])))


@register
class MaPLe(DeepPromptTrainer):
    """Learns deep text prompts and the maps that couple the image prompts to them, by cross entropy."""

    node = "MAPLE"
    defaults = {"N_CTX": 2, "CTX_INIT": "a photo of a", "PREC": "fp16", "PROMPT_DEPTH": 9}
    checkpoint_name = "MultiModalPromptLearner"
    at_least = {"N_CTX": 1, "PROMPT_DEPTH": 1}

    def build_learner(self, clip: CLIP, names: Sequence[str]) -> PromptLearner:
        self.refuse_resnet(clip, "")
        depth = self.depth("PROMPT_DEPTH", clip.common_layers)
        return CoupledPrompts(self.starting_context(clip), depth - 1, clip)
