"""Tokens of one space that both encoders share."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from .learner import PromptLearner, random_vectors
from .steering import ImageSteering, TextSteering


class SharedTokens(PromptLearner):
    """Tokens (count, dim) that a linear map a layer and encoder brings into the layers of both.

    All maps of one encoder start as the same one.

    Args:
        count, dim: of the tokens.
        layers: where they act, counted from 0; in between the first of them, replaced in the others.
        widths: of the text and of the image encoder.
    """

    def __init__(
        self, count: int, dim: int, layers: Sequence[int], widths: tuple[int, int]
    ) -> None:
        super().__init__()
        self.layers, (text_width, image_width) = tuple(layers), widths
        self.tokens = nn.Parameter(random_vectors(count, dim))
        self.image_maps = _copies(nn.Linear(dim, image_width), len(layers))
        self.text_maps = _copies(nn.Linear(dim, text_width), len(layers))

    def steer_text(self, image_features: Tensor | None = None) -> TextSteering:
        return TextSteering(inserted=self._mapped(self.text_maps))

    def steer_image(self) -> ImageSteering:
        return ImageSteering(inserted=self._mapped(self.image_maps))

    def _mapped(self, maps: nn.ModuleList) -> dict[int, Tensor]:
        return {layer: each(self.tokens) for layer, each in zip(self.layers, maps, strict=True)}


def _copies(linear: nn.Linear, count: int) -> nn.ModuleList:
    maps = nn.ModuleList(nn.Linear(linear.in_features, linear.out_features) for _ in range(count))
    for each in maps:
        each.load_state_dict(linear.state_dict())
    return maps
