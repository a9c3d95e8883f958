"""MaPLe: deep text prompts, and image prompts that are linear maps of them."""

from __future__ import annotations

from .encoders import Acts, image_prompts, text_prompts
from .path import PlainPath


class MaPLe(PlainPath):
    """One map a layer."""

    saves_whole_model = True

    def text_acts(self) -> Acts:
        return text_prompts(self.several("prompt_learner.compound_prompts_text.{}"))

    def image_acts(self) -> Acts:
        deeper = self.several("prompt_learner.compound_prompts_text.{}")
        maps = (f"prompt_learner.compound_prompt_projections.{k}" for k in range(len(deeper)))
        first = self.linear("prompt_learner.proj", self.learned["prompt_learner.ctx"])
        return image_prompts(self.clip, [first, *map(self.linear, maps, deeper)])
