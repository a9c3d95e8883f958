"""Zero-shot CLIP (Radford et al. 2021): text templates, nothing learned."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from prompting.backbone import CLIP
from prompting.prompted_clip import PromptedCLIP, normalise, template_features

from . import templates
from .prompt_trainer import PromptTrainer
from .registry import register


class TemplateCLIP(PromptedCLIP):
    """CLIP whose class features are the mean over templates of the normalised text features."""

    def __init__(self, clip: CLIP, names: Sequence[str], templates: Sequence[str]) -> None:
        super().__init__(clip, learner=None, layout=None)
        self.names, self.templates = names, templates

    def encode_classes(self) -> Tensor:
        features = template_features(self.clip, self.templates, self.names)
        return normalise(torch.stack([normalise(f) for f in features]).mean(0))


@register
class ZeroshotCLIP(PromptTrainer):
    """One template: TRAINER.ZEROSHOT.TEMPLATE, else the dataset's own, else "a photo of a {}."."""

    node = "ZEROSHOT"

    def templates(self) -> list[str]:
        template = self.options.TEMPLATE or templates.DATASETS.get(
            self.cfg.DATASET.NAME, templates.DEFAULT
        )
        if "{}" not in template:
            raise ValueError(
                f"TRAINER.ZEROSHOT.TEMPLATE is {template!r}: expected {{}} where the class name stands"
            )
        return [template]

    def build_prompted_clip(self, clip: CLIP, names: list[str]) -> PromptedCLIP:
        chosen = self.templates()
        print(f"Templates: {chosen}")
        return TemplateCLIP(clip, names, chosen)

    def load_model(self, directory, epoch=None) -> None:
        print(f"{type(self).__name__} learns nothing: there is no checkpoint to load")

    def before_train(self) -> None:
        raise ValueError(f"{type(self).__name__} learns nothing: run it with --eval-only")


@register
class ZeroshotCLIP2(ZeroshotCLIP):
    """An ensemble of the seven selected ImageNet templates and, elsewhere, the dataset's own."""

    def templates(self) -> list[str]:
        own = [] if self.cfg.DATASET.NAME == "ImageNet" else super().templates()
        return [*templates.IMAGENET_SELECTED, *own]
