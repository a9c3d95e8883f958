"""IVLP: deep prompts in both encoders."""

from __future__ import annotations

from .encoders import Acts, image_prompts, text_prompts
from .path import PlainPath


class IVLP(PlainPath):
    """The context is the text prompt of the first layer."""

    saves_whole_model = True

    def text_acts(self) -> Acts:
        return text_prompts(
            self.several("text_encoder.transformer.resblocks.{}.VPT_shallow", first=1)
        )

    def image_acts(self) -> Acts:
        deeper = self.several("image_encoder.transformer.resblocks.{}.VPT_shallow", first=1)
        return image_prompts(self.clip, [self.learned["image_encoder.VPT"], *deeper])
