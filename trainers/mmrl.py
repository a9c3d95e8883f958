"""MMRL: multi-modal representation learning (Guo and Gu, CVPR 2025)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prompting.backbone import CLIP
from prompting.class_prompts import PromptTemplate
from prompting.errors import InputError
from prompting.known_images import Images, KnownImages
from prompting.learner import PromptLearner, random_vectors
from prompting.prompted_clip import PromptedCLIP, normalise
from prompting.steering import ImageSteering, TextSteering

from . import templates
from .prompt_trainer import PromptTrainer
from .registry import register

LOGIT_SCALE = 100.0


class RepresentationLearner(PromptLearner):
    """Tokens of one shared space, mapped into the upper layers of both encoders; and the projection of
    what the image encoder makes of them.

    Args:
        count, dim: of the shared tokens.
        layers: where they act, counted from 0; in between the first of them, replaced in the others.
        clip: for the widths.
    """

    def __init__(self, count: int, dim: int, layers: Sequence[int], clip: CLIP) -> None:
        super().__init__()
        self.layers = tuple(layers)
        self.compound_rep_tokens = nn.Parameter(random_vectors(count, dim))
        self.compound_rep_tokens_r2vproj = _copies(nn.Linear(dim, clip.image.width), len(layers))
        self.compound_rep_tokens_r2tproj = _copies(nn.Linear(dim, clip.text.width), len(layers))
        start = clip.image.width**-0.5 * torch.randn(clip.image.width, clip.embed_dim)
        self.proj_rep = nn.Parameter(start)

    def steer_text(self, image_features: Tensor | None = None) -> TextSteering:
        return TextSteering(inserted=self._mapped(self.compound_rep_tokens_r2tproj))

    def steer_image(self) -> ImageSteering:
        return ImageSteering(inserted=self._mapped(self.compound_rep_tokens_r2vproj))

    def _mapped(self, maps: nn.ModuleList) -> dict[int, Tensor]:
        return {k: m(self.compound_rep_tokens) for k, m in zip(self.layers, maps, strict=True)}

    def published_names(self) -> dict[str, str]:
        names = {name: f"representation_learner.{name}" for name in self.state_dict()}
        return {**names, "proj_rep": "image_encoder.proj_rep"}

    def describe(self) -> dict[str, Any]:
        return {"representation_layers": list(self.layers)}


def _copies(linear: nn.Linear, count: int) -> nn.ModuleList:
    """Maps that all start as the same one."""
    maps = nn.ModuleList(nn.Linear(linear.in_features, linear.out_features) for _ in range(count))
    for each in maps:
        each.load_state_dict(linear.state_dict())
    return maps


class RepresentationCLIP(PromptedCLIP):
    """CLIP with a second image feature, fused with the first for the classes trained on."""

    knows_trained_classes = True

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.alpha = 1.0

    def encode_images_both(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Embedded images -> normalised class and representation features, (B, embed_dim) each."""
        image, learner = self.clip.image, self.prompt_learner
        normed = image.ln_post(image.outputs(tokens, learner.steer_image()))
        representation = normed[:, 1:].mean(1)
        return (
            normalise(normed[:, 0] @ image.proj),
            normalise(representation @ learner.proj_rep.to(representation.dtype)),
        )

    def logits(self, image_features: Tensor, class_features: Tensor) -> Tensor:
        return LOGIT_SCALE * image_features @ class_features.t()

    def forward(self, images: Tensor) -> Tensor:
        features, representation = self.encode_images_both(self.clip.image.embed(images))
        text = self.class_features()
        logits = self.logits(features, text)
        if self.trained_rows() is None:
            return logits
        return self.alpha * logits + (1 - self.alpha) * self.logits(representation, text)


@register
class MMRL(PromptTrainer):
    """Learns tokens that enter both encoders in their upper layers (section 3).

    Loss = ALPHA * CE(f.t) + (1 - ALPHA) * CE(r.t) + REG_WEIGHT * (1 - mean cos(f, f0) + 1 - mean
    cos(t, t0)), with f the class feature, r the representation feature, t the text's, and f0, t0 those
    of the frozen CLIP; logits are 100 times the cosine. REP_LAYERS count from 1. TEMPLATE asks for the
    classes; "" is the dataset's own.
    """

    node = "MMRL"
    defaults = {
        "ALPHA": 0.7,
        "REG_WEIGHT": 1.0,
        "N_REP_TOKENS": 5,
        "REP_LAYERS": [],
        "REP_DIM": 512,
        "TEMPLATE": "",
        "PREC": "fp16",
    }
    at_least = {"ALPHA": 0, "REG_WEIGHT": 0, "N_REP_TOKENS": 1, "REP_DIM": 1}
    at_most = {"ALPHA": 1}
    frozen_view = 1
    accepted_keys = {"TASK": "B2N"}  # the classes say what the published key says
    checkpoint_name = "MultiModalRepresentationLearner"
    published_unused = (r"(representation_learner\.)?prompt_embeddings", r".*clip_model.*")
    model_class = RepresentationCLIP

    def teacher_templates(self) -> Sequence[str]:
        return [self.options.TEMPLATE or templates.of_dataset(self.cfg.DATASET.NAME)]

    def build_template(self) -> PromptTemplate:
        return PromptTemplate(self.teacher_templates()[0])

    def build_learner(self, clip: CLIP, names: Sequence[str]) -> PromptLearner:
        options = self.options
        most = min(clip.text.layers, clip.image.layers if clip.is_vit else 0)
        layers = [layer - 1 for layer in options.REP_LAYERS]
        if not layers or layers != sorted(set(layers)) or layers[0] < 0 or layers[-1] >= most:
            raise InputError(
                f"TRAINER.{self.node}.REP_LAYERS is {list(options.REP_LAYERS)}: expected layers in "
                f"rising order from 1 to {most}, as many as both encoders of "
                f"{self.cfg.MODEL.BACKBONE.NAME} have (a ResNet none)"
            )
        return RepresentationLearner(options.N_REP_TOKENS, options.REP_DIM, layers, clip)

    def build_model(self) -> None:
        super().build_model()
        self.model.alpha = self.options.ALPHA

    def compute_loss(self, images: Images, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        model, options = self.model, self.options
        frozen = model.encode_images_frozen(images)
        pixels = images.pixels if isinstance(images, KnownImages) else images
        features, representation = model.encode_images_both(model.clip.image.embed(pixels))
        text = model.class_features()
        cross_entropy = F.cross_entropy(model.logits(features, text), labels)
        of_representation = F.cross_entropy(model.logits(representation, text), labels)
        cosine_image = F.cosine_similarity(features, frozen).mean()
        cosine_text = F.cosine_similarity(text, model.teacher_text()).mean()
        loss = options.ALPHA * cross_entropy + (1 - options.ALPHA) * of_representation
        loss = loss + options.REG_WEIGHT * ((1 - cosine_image) + (1 - cosine_text))
        parts = {"ce": cross_entropy, "ce_rep": of_representation}
        return loss, {**parts, "cosine_image": cosine_image, "cosine_text": cosine_text}
