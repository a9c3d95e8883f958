"""DePT: decoupled prompt tuning (Zhang et al., CVPR 2024), on any method that learns prompts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prompting.backbone import CLIP
from prompting.fused_clip import FusedCLIP
from prompting.learner import ExtendedLearner, PromptLearner
from prompting.modules import ChannelwiseMap

from .coop import CoOp
from .ivlp import IVLP
from .kgcoop import KgCoOp
from .maple import MaPLe
from .prompt_trainer import PromptTrainer
from .promptsrc import PromptSRC
from .registry import register


class DecoupledLearner(ExtendedLearner):
    """What another method learns, and a linear head on mapped raw features of both encoders."""

    def __init__(self, base: PromptLearner, embed_dim: int, classes: int) -> None:
        super().__init__(base)
        self.film_lp_img, self.film_lp_text = ChannelwiseMap(embed_dim), ChannelwiseMap(embed_dim)
        self.linear_probe_proj = nn.Linear(embed_dim, classes)

    def fit_classes(self, count: int) -> None:
        super().fit_classes(count)
        head = self.linear_probe_proj
        if count and count != head.out_features:
            self.linear_probe_proj = nn.Linear(head.in_features, count).to(head.weight.device)


class DecoupledCLIP(FusedCLIP):
    """A prompted CLIP whose logits are fused with the head's; it keeps raw features for that."""

    def finish_text(self, features: Tensor) -> Tensor:
        self.raw_text = features
        return features

    def finish_images(self, features: Tensor) -> Tensor:
        self.raw_images = features
        return features

    def further_logits(self, rows: list[int]) -> Tensor:
        learner = self.prompt_learner
        return learner.linear_probe_proj(learner.film_lp_img(self.raw_images))[:, rows]


class DePT(PromptTrainer):
    """Put before a method, it adds the head (equations 4 to 8).

    Loss = the method's, its cross entropy at 1 - HEAD_WEIGHT, + HEAD_WEIGHT * CE of the head on the
    text features of the labels and on the image features. The paper fuses probabilities at test, the
    published code logits. Head and maps learn HEAD_LR_FACTOR times as fast.
    """

    more_nodes = {"DEPT": {"HEAD_WEIGHT": 0.7, "HEAD_LR_FACTOR": 6.5}}
    more_than = {"HEAD_LR_FACTOR": 0}
    at_most = {"HEAD_WEIGHT": 1}
    saved_module = ""
    model_class = DecoupledCLIP

    def build_learner(self, clip: CLIP, names: Sequence[str]) -> PromptLearner:
        return DecoupledLearner(super().build_learner(clip, names), clip.embed_dim, len(names))

    def build_model(self) -> None:
        super().build_model()
        self.model.fusion_weight = self.options_of("DEPT").HEAD_WEIGHT

    def parameter_groups(self) -> list[dict[str, object]]:
        learner = self.model.prompt_learner
        rate = self.cfg.OPTIM.LR * self.options_of("DEPT").HEAD_LR_FACTOR
        added = {"params": learner.added_parameters(), "lr": rate}
        return [{"params": list(learner.base.parameters())}, added]

    def compute_loss(self, images: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        loss, parts = super().compute_loss(images, labels)
        model, learner = self.model, self.model.prompt_learner
        text = learner.film_lp_text(model.raw_text[labels])
        rows = torch.cat([text, learner.film_lp_img(model.raw_images)])
        of_head = F.cross_entropy(learner.linear_probe_proj(rows), labels.repeat(2))
        cross_entropy, weight = parts.get("ce", loss), model.fusion_weight
        loss = loss - weight * cross_entropy + weight * of_head
        return loss, {**parts, "ce": cross_entropy, "ce_head": of_head}


@register
class DePTCoOp(DePT, CoOp):
    """DePT on CoOp."""

    checkpoint_name = "PromptLearner"


@register
class DePTKgCoOp(DePT, KgCoOp):
    """DePT on KgCoOp."""

    checkpoint_name = "PromptLearner"


@register
class DePTMaPLe(DePT, MaPLe):
    """DePT on MaPLe."""


@register
class DePTIVLP(DePT, IVLP):
    """DePT on IVLP: not published as code."""


@register
class DePTPromptSRC(DePT, PromptSRC):
    """DePT on PromptSRC: in the paper, not published as code."""
