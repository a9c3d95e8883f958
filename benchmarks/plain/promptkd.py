"""PromptKD: an image encoder with prompts learns to classify as a larger teacher does."""

from __future__ import annotations

import clip
import torch
import torch.nn.functional as F
from torch import Tensor

from .encoders import Acts, image_features, image_prompts, normalise, text_features
from .path import PlainPath


class PromptKD(PlainPath):
    """The teacher encodes all texts and the images again in every step, as published."""

    learns_text = False
    saves_whole_model = True

    def __init__(self, trainer, load, device: torch.device) -> None:
        super().__init__(trainer, load, device)
        self.teacher = self.frozen_clip(load, self.options["TEACHER_NAME"])

    def image_acts(self) -> Acts:
        deeper = self.several("image_encoder.transformer.resblocks.{}.VPT_shallow", first=1)
        return image_prompts(self.clip, [self.learned["image_encoder.VPT"], *deeper])

    @torch.no_grad()
    def encode_text(self, context: Tensor | None = None) -> Tensor:
        tokens = clip.tokenize(self.texts).to(self.device)
        return text_features(self.teacher, self.teacher.token_embedding(tokens), self.eot)

    def encode_images(self, images: Tensor) -> Tensor:
        projector = "VPT_image_trans.conv1.{}".format
        x = super().encode_images(images).float()[..., None, None]
        x = F.conv2d(x, self.learned[projector("0.weight")], self.learned[projector("0.bias")])
        x = F.batch_norm(
            x,
            self.learned[projector("1.running_mean")],
            self.learned[projector("1.running_var")],
            self.learned[projector("1.weight")],
            self.learned[projector("1.bias")],
            training=torch.is_grad_enabled(),
        )
        x = F.conv2d(
            x.relu(), self.learned[projector("3.weight")], self.learned[projector("3.bias")]
        )
        return x.flatten(1)

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        text, temperature = self.encode_classes(), self.options["TEMPERATURE"]
        with torch.no_grad():
            seen = normalise(image_features(self.teacher, images))
            taught = self.teacher.logit_scale.exp() * seen @ text.t()
        logits = self.logits(normalise(self.encode_images(images)), text)
        student, teacher = (F.log_softmax(x / temperature, 1) for x in (logits, taught))
        kl = F.kl_div(student, teacher, reduction="sum", log_target=True)
        return self.options["KD_WEIGHT"] * temperature**2 * kl / logits.numel()
