"""MMA: multi-modal adapter for vision-language models (Yang et al., CVPR 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from prompting.backbone import CLIP
from prompting.class_prompts import PromptTemplate, clean_name
from prompting.errors import InputError
from prompting.learner import PromptLearner
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
        above = {k - 1: partial(self._apart, self._linears(side, k)) for k in self.layers if k}
        embedding = self._linears(side, 0) if 0 in self.layers else None
        return {
            "adapters": above,
            "embedding_adapter": embedding and (lambda x: self.scale * _bottleneck(x, embedding)),
        }

    def _linears(self, side: nn.ModuleDict, layer: int) -> tuple[nn.Linear, ...]:
        own = side[str(layer)]
        return own["down"][0], self.shared_adapter[str(layer)][0], own["up"]

    def _apart(self, linears: tuple[nn.Linear, ...], h: Tensor) -> Tensor:
        """scale * A(h) in value; its gradient to h scaled, to the adapters not."""
        onwards = self.scale * _bottleneck(h, linears, frozen=True)
        own = _bottleneck(h.detach(), linears)
        return onwards + (own - own.detach())

    def published_names(self) -> dict[str, str]:
        return {name: f"adapter_learner.{name}" for name in self.state_dict()}

    def describe(self) -> dict[str, object]:
        return {"adapter_layers": list(self.layers), "adapter_scale": self.scale}


def _bottleneck(h: Tensor, linears: Sequence[nn.Linear], frozen: bool = False) -> Tensor:
    """A(h), in the precision of h; frozen: no gradient reaches the weights."""
    *inner, up = ((each.weight, each.bias) for each in linears)
    x = h
    for weight, bias in inner:
        x = F.relu(_linear(x, weight, bias, frozen))
    return _linear(x, *up, frozen)


def _linear(x: Tensor, weight: Tensor, bias: Tensor, frozen: bool) -> Tensor:
    if frozen:
        weight, bias = weight.detach(), bias.detach()
    return F.linear(x, weight.to(x.dtype), bias.to(x.dtype))


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
    at_least = {"ADAPTER_DIM": 1}
    more_than = {"ADAPTER_SCALE": 0}
    checkpoint_name = "adapter_learner"
    saved_module = "adapter_learner."
    published_unused = (r"token_embedding", r"tokenized_prompts")

    def build_template(self) -> PromptTemplate:
        return PromptTemplate(f"{clean_name(self.options.TEXT_CTX_INIT)} {{}}.".strip())

    def build_learner(self, clip: CLIP, names: Sequence[str]) -> PromptLearner:
        options = self.options
        first, last = options.ADAPTER_START, options.ADAPTER_END
        most = min(clip.text.layers, clip.image.layers if clip.is_vit else 0)
        if not 0 <= first <= last <= most:
            raise InputError(
                f"TRAINER.{self.node}: adapters beside the blocks {first} to {last} were asked for, "
                f"and {self.cfg.MODEL.BACKBONE.NAME} has {most} in both encoders (a ResNet none): "
                f"expected 0 <= ADAPTER_START <= ADAPTER_END <= {most}"
            )
        widths = clip.text.width, clip.image.width
        return Adapters(range(first, last + 1), widths, options.ADAPTER_DIM, options.ADAPTER_SCALE)
