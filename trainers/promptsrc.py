"""PromptSRC: self-regulating prompts, foundational model adaptation without forgetting
(Khattak et al., ICCV 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from prompting.averaging import GaussianAverage

from . import templates
from .ivlp import IVLP
from .registry import register


@register
class PromptSRC(IVLP):
    """IVLP kept close to the frozen CLIP that it starts from.

    Loss = CE + TEXT_LOSS_WEIGHT * L1(text) + IMAGE_LOSS_WEIGHT * L1(image) + KL (equations 3 to 5). As
    in the published code the L1 terms are means over all elements, and the KL divergence is divided
    by batch times classes. After training the prompts are their Gaussian-weighted average over epochs
    (section 3.2.2), and the teacher's text features are averaged over 60 templates (section 3.2.3).
    GPA False and TEACHER_TEMPLATES 1 leave the last two out, as in the paper's ablation (table 1).
    """

    node = "PROMPTSRC"
    defaults = {
        **IVLP.defaults,
        "N_CTX_VISION": 4,
        "N_CTX_TEXT": 4,
        "TEXT_LOSS_WEIGHT": 25.0,
        "IMAGE_LOSS_WEIGHT": 10.0,
        "GPA_MEAN": 15.0,
        "GPA_STD": 1.0,
        # for ablations: whether prompts are averaged, and with how many templates the teacher is asked
        "GPA": True,
        "TEACHER_TEMPLATES": len(templates.TEACHER),
    }
    at_least = {"TEXT_LOSS_WEIGHT": 0, "IMAGE_LOSS_WEIGHT": 0}
    more_than = {"GPA_STD": 0}
    frozen_view = 1

    def teacher_templates(self) -> Sequence[str]:
        count, most = self.options.TEACHER_TEMPLATES, len(templates.TEACHER)
        expected = f"1 to {most}, the first so many of the teacher's templates"
        self.expect("TEACHER_TEMPLATES", 1 <= count <= most, expected)
        return templates.TEACHER[:count]

    def build_model(self) -> None:
        super().build_model()
        options = self.options
        self.average = GaussianAverage(self.cfg.OPTIM.MAX_EPOCH, options.GPA_MEAN, options.GPA_STD)

    def compute_loss(self, images: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        model, options = self.model, self.options
        image_features, teacher_image = model.encode_images_twice(images)
        text_features, teacher_text = model.class_features(), model.teacher_text()
        logits = model.logits(image_features, text_features)
        teacher_logits = model.logits(teacher_image, teacher_text)

        cross_entropy = F.cross_entropy(logits, labels)
        l1_text = F.l1_loss(text_features, teacher_text)
        l1_image = F.l1_loss(image_features, teacher_image)
        divergence = F.kl_div(
            F.log_softmax(logits, dim=1),
            F.log_softmax(teacher_logits, dim=1),
            reduction="sum",
            log_target=True,
        )
        kl = divergence / logits.numel()
        loss = (
            cross_entropy
            + options.TEXT_LOSS_WEIGHT * l1_text
            + options.IMAGE_LOSS_WEIGHT * l1_image
            + kl
        )
        return loss, {"ce": cross_entropy, "l1_text": l1_text, "l1_image": l1_image, "kl": kl}

    def after_epoch(self) -> None:
        if self.options.GPA:
            self.average.update(self.epoch + 1, self.learned.tensors())
        self.test_periodically()
        if self.options.GPA and self.epoch + 1 == self.max_epoch:
            print("The prompts become their Gaussian-weighted average over the epochs")
            self.set_learned(self.average.average())
        super().after_epoch()

    def prompts_to_test(self) -> dict[str, dict[str, Tensor]]:
        tested = super().prompts_to_test()
        return {**tested, "average": self.average.average()} if self.average.total else tested

    def resume_state(self) -> dict[str, Any]:
        return {**super().resume_state(), "average": self.average.state_dict()}

    def load_resume_state(self, state: dict[str, Any]) -> None:
        super().load_resume_state(state)
        self.average.load_state_dict(state["average"])
