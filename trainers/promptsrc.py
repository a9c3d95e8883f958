"""PromptSRC: self-regulating prompts, foundational model adaptation without forgetting
(Khattak et al., ICCV 2023)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from prompting.averaging import GaussianAverage
from prompting.backbone import load_clip
from prompting.prompted_clip import normalise, template_features

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

    Raises:
        ValueError: TEACHER_TEMPLATES is not within 1 to 60.
    """

    node = "PROMPTSRC"

    def build_model(self) -> None:
        super().build_model()
        options = self.options
        if not 1 <= options.TEACHER_TEMPLATES <= len(templates.TEACHER):
            raise ValueError(
                f"TRAINER.PROMPTSRC.TEACHER_TEMPLATES is {options.TEACHER_TEMPLATES}: expected 1 to "
                f"{len(templates.TEACHER)}, the first so many of the teacher's templates"
            )
        self.average = GaussianAverage(self.cfg.OPTIM.MAX_EPOCH, options.GPA_MEAN, options.GPA_STD)
        self._teacher_text: Tensor | None = None

    def teacher_text(self) -> Tensor:
        """Normalised teacher text features (C, embed_dim): raw features averaged over the templates.

        Always computed in fp32 from the stored weights; on first use, since tests do not need them.
        """
        if self._teacher_text is None:
            clip = self.model.clip
            if self.precision.weights != torch.float32:
                clip = load_clip(self.cfg.MODEL.BACKBONE.NAME).to(self.device)
            names = self.dm.dataset.classnames
            chosen = templates.TEACHER[: self.options.TEACHER_TEMPLATES]
            with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
                total = sum(template_features(clip, chosen, names))
            self._teacher_text = normalise(total / len(chosen))
        return self._teacher_text

    def compute_loss(self, images: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        model, options = self.model, self.options
        image_features, teacher_image = model.encode_images_twice(images)
        text_features, teacher_text = model.class_features(), self.teacher_text()
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
        learned = self.learned_tensors()
        if self.options.GPA:
            self.average.update(self.epoch + 1, learned)
        self.test_periodically()
        if self.options.GPA and self.epoch + 1 == self.max_epoch:
            print("The prompts become their Gaussian-weighted average over the epochs")
            with torch.no_grad():
                for name, value in self.average.average().items():
                    learned[name].copy_(value)
        super().after_epoch()

    def prompts_to_test(self) -> dict[str, dict[str, Tensor]]:
        tested = super().prompts_to_test()
        return {**tested, "average": self.average.average()} if self.average.total else tested

    def resume_state(self) -> dict[str, Any]:
        return {**super().resume_state(), "average": self.average.state_dict()}

    def load_resume_state(self, state: dict[str, Any]) -> None:
        super().load_resume_state(state)
        self.average.load_state_dict(state["average"])
