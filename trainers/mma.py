"""MMA: multi-modal adapter for vision-language models (Yang et al., CVPR 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from prompting.backbone import CLIP
from prompting.class_prompts import PromptTemplate, clean_name
from prompting.learner import PromptLearner
from prompting.modules import scale_apart
from prompting.steering import ImageSteering, TextSteering

from .prompt_trainer import PromptTrainer
from .registry import register


class Adapters(PromptLearner):
    """Bottlenecks beside the upper blocks of both encoders, which meet in a shared middle.

    A(h) = up(relu(shared(relu(down(h))))) with h the block's normalised input. The block's output gets
    scale * A(h); the adapters' own gradient is that of A(h), without the scale, while what flows on to
    h keeps it, as published: with it, small scales would learn nothing. Beside the embedding (layer 0)
    the gradient is plain.

    Args:
        layers: those with an adapter, counted from 1; 0 is the embedding.
        widths: of the text and of the image encoder.
        dim: the bottleneck's width.
        scale: what the adapters' output is multiplied by.
    """

    def __init__(
        self, layers: Sequence[int], widths: tuple[int, int], dim: int, scale: float
    ) -> None:
        super().__init__()
        self.layers, self.scale = tuple(layers), scale
        self.text_adapter, self.visual_adapter = nn.ModuleDict(), nn.ModuleDict()
        for adapters, width in zip((self.text_adapter, self.visual_adapter), widths, strict=True):
            for layer in layers:
                adapters[str(layer)] = nn.ModuleDict(
                    {"down": nn.Sequential(nn.Linear(width, dim)), "up": nn.Linear(dim, width)}
                )
        self.shared_adapter = nn.ModuleDict(
            {str(layer): nn.Sequential(nn.Linear(dim, dim)) for layer in layers}
        )
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)

    def steer_text(self, image_features: Tensor | None = None) -> TextSteering:
        return TextSteering(**self._beside(self.text_adapter))

    def steer_image(self) -> ImageSteering:
        return ImageSteering(**self._beside(self.visual_adapter))

    def _beside(self, side: nn.ModuleDict) -> dict[str, object]:
        adapters = {layer - 1: partial(self._adapt, side, layer) for layer in self.layers}
        return {"embedding_adapter": adapters.pop(-1, None), "adapters": adapters}

    def _adapt(self, side: nn.ModuleDict, layer: int, h: Tensor) -> Tensor:
        """scale * A(h); beside a block the gradient to h is scaled and that to the adapter is not."""
        own = side[str(layer)]
        linears = own["down"][0], self.shared_adapter[str(layer)][0], own["up"]
        if layer == 0:
            return self.scale * _bottleneck(h, linears)
        adapted = _bottleneck(scale_apart(h, gradient=self.scale), linears)
        return scale_apart(adapted, value=self.scale)

    def published_names(self) -> dict[str, str]:
        return {name: f"adapter_learner.{name}" for name in self.state_dict()}

    def describe(self) -> dict[str, object]:
        return {"adapter_layers": list(self.layers), "adapter_scale": self.scale}


def _bottleneck(h: Tensor, linears: Sequence[nn.Linear]) -> Tensor:
    """A(h), in the precision of h."""
    down, shared, up = ((each.weight.to(h.dtype), each.bias.to(h.dtype)) for each in linears)
    return F.linear(F.relu(F.linear(F.relu(F.linear(h, *down)), *shared)), *up)


@register
class MultiModalAdapter(PromptTrainer):
    """Learns adapters beside the blocks ADAPTER_START to ADAPTER_END of both encoders, both ends
    included and counted from 1, by cross entropy. TEXT_CTX_INIT: the words before the class name."""

    node = "MMADAPTER"
    defaults = {
        "TEXT_CTX_INIT": "",
        "ADAPTER_START": 4,
        "ADAPTER_END": 12,
        "ADAPTER_DIM": 32,
        "ADAPTER_SCALE": 0.1,
        "PREC": "amp",
    }
    at_least = {"ADAPTER_START": 0, "ADAPTER_DIM": 1}
    more_than = {"ADAPTER_SCALE": 0}
    checkpoint_name = "adapter_learner"
    saved_module = "adapter_learner."
    published_unused = (r"token_embedding", r"tokenized_prompts")

    def build_template(self) -> PromptTemplate:
        return PromptTemplate(f"{clean_name(self.options.TEXT_CTX_INIT)} {{}}.".strip())

    def build_learner(self, clip: CLIP, names: Sequence[str]) -> PromptLearner:
        options = self.options
        first, last = options.ADAPTER_START, options.ADAPTER_END
        most = f"{clip.common_layers}, as many layers as both encoders have (a ResNet none)"
        expected = f"ADAPTER_START, which is {first}, to {most}"
        self.expect("ADAPTER_END", first <= last <= clip.common_layers, expected)
        widths = clip.text.width, clip.image.width
        return Adapters(range(first, last + 1), widths, options.ADAPTER_DIM, options.ADAPTER_SCALE)
