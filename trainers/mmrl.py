"""MMRL: multi-modal representation learning (Guo and Gu, CVPR 2025)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prompting.backbone import CLIP
from prompting.class_prompts import PromptTemplate
from prompting.fused_clip import FusedCLIP
from prompting.known_images import Images
from prompting.learner import PromptLearner
from prompting.prompted_clip import normalise
from prompting.shared_tokens import SharedTokens

from . import templates
from .prompt_trainer import PromptTrainer
from .registry import register

LOGIT_SCALE = 100.0


class RepresentationLearner(SharedTokens):
    """Shared tokens, and the projection of what the image encoder makes of them."""

    def __init__(self, count: int, dim: int, layers: Sequence[int], clip: CLIP) -> None:
        width = clip.image.width
        super().__init__(count, dim, layers, (clip.text.width, width))
        self.proj_rep = nn.Parameter(width**-0.5 * torch.randn(width, clip.embed_dim))

    def published_names(self) -> dict[str, str]:
        tokens = "representation_learner.compound_rep_tokens"
        published = {"tokens": tokens, "proj_rep": "image_encoder.proj_rep"}
        published |= {"image_maps": f"{tokens}_r2vproj", "text_maps": f"{tokens}_r2tproj"}
        parts = {name: name.partition(".")[0] for name in self.state_dict()}
        return {name: name.replace(part, published[part], 1) for name, part in parts.items()}

    def describe(self) -> dict[str, object]:
        return {"representation_layers": list(self.layers)}


class RepresentationCLIP(FusedCLIP):
    """CLIP with a second image feature, whose logits are fused with those of the first; for the images
    encoded last it is `representation`, normalised (B, embed_dim)."""

    def encode_tokens(self, tokens: Tensor) -> Tensor:
        image, learner = self.clip.image, self.prompt_learner
        normed = image.ln_post(image.outputs(tokens, learner.steer_image()))
        representation = normed[:, 1:].mean(1)
        self.representation = normalise(representation @ learner.proj_rep.to(normed.dtype))
        return normed[:, 0] @ image.proj

    def logits(self, image_features: Tensor, class_features: Tensor) -> Tensor:
        return LOGIT_SCALE * image_features @ class_features.t()

    def further_logits(self, rows: list[int]) -> Tensor:
        return self.logits(self.representation, self.class_features())


@register
class MMRL(PromptTrainer):
    """Learns tokens that enter both encoders in their upper layers (section 3). Loss = ALPHA * CE(f.t)
    + (1 - ALPHA) * CE(r.t) + REG_WEIGHT * (1 - mean cos(f, f0) + 1 - mean cos(t, t0)), with f the class
    feature, r the representation feature, t the text's, and f0, t0 those of the frozen CLIP; logits are
    100 times the cosine. REP_LAYERS count from 1. TEMPLATE asks for the classes; "" is the dataset's
    own. With TASK CD f alone answers on other datasets, those with the same classes included."""

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
    accepted_keys = {"TASK": "B2N"}  # but for CD the classes say what the published key says
    checkpoint_name = "MultiModalRepresentationLearner"
    published_unused = (r"(representation_learner\.)?prompt_embeddings", r".*clip_model.*")
    model_class = RepresentationCLIP

    def teacher_templates(self) -> Sequence[str]:
        return [self.options.TEMPLATE or templates.of_dataset(self.cfg.DATASET.NAME)]

    def build_template(self) -> PromptTemplate:
        return PromptTemplate(self.teacher_templates()[0])

    def build_learner(self, clip: CLIP, names: Sequence[str]) -> PromptLearner:
        options, most = self.options, clip.common_layers
        known = [layer for layer in range(1, most + 1) if layer in options.REP_LAYERS]
        expected = f"some of 1 to {most} in rising order, layers of both encoders (ResNets: none)"
        self.expect("REP_LAYERS", list(options.REP_LAYERS) == known != [], expected)
        layers = [layer - 1 for layer in known]
        return RepresentationLearner(options.N_REP_TOKENS, options.REP_DIM, layers, clip)

    def build_model(self) -> None:
        super().build_model()
        self.model.fusion_weight = 1 - self.options.ALPHA
        self.model.own_dataset_only = self.cfg.TASK == "CD"

    def compute_loss(self, images: Images, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        model, options = self.model, self.options
        features, frozen = model.encode_images_twice(images)
        text = model.class_features()
        cross_entropy = F.cross_entropy(model.logits(features, text), labels)
        of_representation = F.cross_entropy(model.logits(model.representation, text), labels)
        cosine_image = F.cosine_similarity(features, frozen).mean()
        cosine_text = F.cosine_similarity(text, model.teacher_text()).mean()
        loss = options.ALPHA * cross_entropy + (1 - options.ALPHA) * of_representation
        loss = loss + options.REG_WEIGHT * ((1 - cosine_image) + (1 - cosine_text))
        parts = {"ce": cross_entropy, "ce_rep": of_representation}
        return loss, {**parts, "cosine_image": cosine_image, "cosine_text": cosine_text}
