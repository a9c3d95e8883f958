"""Zero-shot CLIP (Radford et al. 2021): text templates, nothing learned."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from prompting.backbone import CLIP
from prompting.class_prompts import PromptTemplate
from prompting.errors import InputError
from prompting.learner import PromptLearner
from prompting.prompted_clip import PromptedCLIP, normalise, template_features

from . import templates
from .prompt_trainer import PromptTrainer
from .registry import register


@register
class ZeroshotCLIP(PromptTrainer):
    """One template: TRAINER.ZEROSHOT.TEMPLATE, else the dataset's own, else "a photo of a {}."."""

    node = "ZEROSHOT"
    defaults = {"TEMPLATE": "", "PREC": "fp32"}
    learns = False

    def build_template(self) -> PromptTemplate:
        template = self.options.TEMPLATE or templates.of_dataset(self.cfg.DATASET.NAME)
        print(f"Template: {template!r}")
        return PromptTemplate(template)

    def build_learner(self, clip: CLIP, names: Sequence[str]) -> PromptLearner:
        return PromptLearner()

    def load_model(self, directory, epoch=None) -> None:
        print(f"{type(self).__name__} learns nothing: there is no checkpoint to load")

    def before_train(self) -> None:
        raise InputError(f"{type(self).__name__} learns nothing: run it with --eval-only")


class EnsembleCLIP(PromptedCLIP):
    """CLIP whose class features are the mean over templates of the normalised text features."""

    templates: Sequence[str]

    def encode_text(self) -> Tensor:
        features = template_features(self.clip, self.templates, self.names)
        return torch.stack([normalise(f) for f in features]).mean(0)


@register
class ZeroshotCLIP2(ZeroshotCLIP):
    """An ensemble of the seven selected ImageNet templates and, elsewhere, the dataset's own."""

    model_class = EnsembleCLIP

    def build_model(self) -> None:
        super().build_model()
        own = [] if self.cfg.DATASET.NAME == "ImageNet" else [self.model.template.text]
        self.model.templates = [*templates.IMAGENET_SELECTED, *own]
