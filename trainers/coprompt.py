"""CoPrompt: consistency-guided prompt learning (Roy and Etemad, ICLR 2024)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from prompting.backbone import CLIP
from prompting.learner import ExtendedLearner, PromptLearner
from prompting.prompted_clip import PromptedCLIP
from prompting.sentences import sentence_features

from . import descriptions
from .maple import MaPLe
from .registry import register

IMAGE_SHARE, TEXT_SHARE = 0.1, 0.2  # of the adapters in the features; fixed in the published code
OWN = Path(__file__).resolve().parents[1] / "configs" / "trainers" / "CoPrompt" / "descriptions"


class FeatureAdapter(nn.Module):
    """relu(W2 relu(W1 x)) through a quarter of the width, without biases."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        down, up = nn.Linear(dim, dim // 4, bias=False), nn.Linear(dim // 4, dim, bias=False)
        self.fc = nn.Sequential(down, nn.ReLU(), up, nn.ReLU())

    def mix(self, features: Tensor, share: float) -> Tensor:
        """share * adapted + (1 - share) * features, (..., dim) in fp32."""
        features = features.float()
        return share * self.fc(features) + (1 - share) * features


class AdaptedPrompts(ExtendedLearner):
    """What another learner learns, and an adapter on the features of either encoder."""

    def __init__(self, base: PromptLearner, dim: int) -> None:
        super().__init__(base)
        self.adapter_image, self.adapter_text = FeatureAdapter(dim), FeatureAdapter(dim)


class AdaptedCLIP(PromptedCLIP):
    """A prompted CLIP with adapters on its features."""

    def finish_text(self, features: Tensor) -> Tensor:
        return self.prompt_learner.adapter_text.mix(features, TEXT_SHARE)

    def finish_images(self, features: Tensor) -> Tensor:
        return self.prompt_learner.adapter_image.mix(features, IMAGE_SHARE)


@register
class CoPrompt(MaPLe):
    """MaPLe kept consistent with the frozen CLIP on other inputs (section 3.2).

    Loss = CE + WEIGHT * (d(t, t0) + d(f, f0)): t0 are the frozen features of a sentence about every
    class, another one at each step, f0 those of a second view; d is 1 - mean cosine, or with DISTILL
    mse the mean squared difference. DESCRIPTIONS (`descriptions.read`) serve training alone.
    """

    node = "COPROMPT"
    defaults = {**MaPLe.defaults, "WEIGHT": 8.0, "DISTILL": "cosine", "DESCRIPTIONS": ""}
    published_keys = {
        "TRAINER.W": "TRAINER.COPROMPT.WEIGHT",
        "TRAINER.DISTILL": "TRAINER.COPROMPT.DISTILL",
        **{f"TRAINER.CoPrompt.{key}": f"TRAINER.COPROMPT.{key}" for key in MaPLe.defaults},
    }
    at_least = {"WEIGHT": 0}
    one_of = {"DISTILL": ("cosine", "mse")}
    published_unused = (r"(prompt_learner\.)?model_distill\..*",)
    views = 2
    model_class = AdaptedCLIP

    def build_learner(self, clip: CLIP, names: Sequence[str]) -> PromptLearner:
        return AdaptedPrompts(super().build_learner(clip, names), clip.embed_dim)

    @cached_property
    def described(self) -> Tensor:
        """The frozen CLIP's normalised features of K sentences about every class, (K, C, embed_dim)."""
        source, dataset = self.options.DESCRIPTIONS, self.cfg.DATASET.NAME
        sentences = descriptions.read(source, dataset, self.model.names, OWN)
        texts = [text for together in zip(*sentences, strict=True) for text in together]
        features = sentence_features(self.model.clip.fingerprint, texts, self.clip_in_fp32)
        return features.to(self.device).unflatten(0, (-1, len(sentences)))

    def before_train(self) -> None:
        print(f"{len(self.described)} sentences a class")  # missing ones are told before it begins
        super().before_train()

    def parse_batch_train(self, batch: dict) -> tuple[tuple[Tensor, ...], Tensor]:
        self.drawn = self.described[random.randrange(len(self.described))]  # outside of the graph
        return super().parse_batch_train(batch)

    def distance(self, features: Tensor, frozen: Tensor) -> Tensor:
        """How far normalised features (N, embed_dim) are from those of the frozen CLIP."""
        if self.options.DISTILL == "mse":
            return F.mse_loss(features, frozen)
        return 1 - F.cosine_similarity(features, frozen).mean()

    def compute_loss(
        self, images: tuple[Tensor, Tensor], labels: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        model, frozen = self.model, self.model.encode_images_frozen(images[1])
        features, text = model.encode_images(images[0]), model.class_features()
        ce = F.cross_entropy(model.logits(features, text), labels)
        of_text, of_image = self.distance(text, self.drawn), self.distance(features, frozen)
        loss = ce + self.options.WEIGHT * (of_text + of_image)
        return loss, {"ce": ce, "consistency_text": of_text, "consistency_image": of_image}
