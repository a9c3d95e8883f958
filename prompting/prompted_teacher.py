"""A trained, prompted CLIP that others learn from, on whatever backbone it was trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path

import torch
from torch import Tensor

from . import checkpoints
from .backbone import load_clip
from .class_prompts import PromptTemplate
from .errors import InputError
from .learned_state import LearnedState, check_probe, probe
from .learner import DeepPrompts, PromptLearner
from .prompted_clip import PromptedCLIP
from .tensors import digest

# what published deep prompts that have no header stand before the class name with
_PUBLISHED_WORDS = "a photo of a"


class PromptedTeacher:
    """Features and logits of a frozen model; text features once for each list of names.

    `fingerprint` identifies its weights and prompts.
    """

    def __init__(self, model: PromptedCLIP) -> None:
        self.model = model
        learned = {
            name: tensor.detach() for name, tensor in model.prompt_learner.state_dict().items()
        }
        of_all = f"{model.clip.fingerprint} {model.template.text} {digest(learned, '')}"
        self.fingerprint = hashlib.sha256(of_all.encode()).hexdigest()[:16]
        self._kept: dict[tuple[str, ...], Tensor] = {}

    @torch.no_grad()
    def __call__(self, names: Sequence[str]) -> Tensor:
        """Normalised text features of classes, (C, embed_dim)."""
        key = tuple(names)
        if key not in self._kept:
            with torch.autocast(self.model.clip.logit_scale.device.type, enabled=False):
                self._kept[key] = self.model.with_classes(names).class_features()
        return self._kept[key]

    @torch.no_grad()
    def encode_images(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) -> normalised features (B, embed_dim)."""
        return self.model.encode_images(images)

    @torch.no_grad()
    def logits(self, image_features: Tensor, names: Sequence[str]) -> Tensor:
        """Features of `encode_images` -> logits over classes, (B, C)."""
        return self.model.logits(image_features, self(names))


def zero_shot(
    backbone: str, template: str, names: Sequence[str], activation: str = ""
) -> PromptedTeacher:
    """CLIP as it is, asked with a template; backbone and activation as for `load_clip`."""
    clip = load_clip(backbone, activation)
    return PromptedTeacher(PromptedCLIP(clip, PromptLearner(), PromptTemplate(template), names))


def from_file(
    path: Path, backbone: str, names: Sequence[str], unused: Collection[str] = ()
) -> PromptedTeacher:
    """The model of a file of deep prompts, a checkpoint of ours or a published one.

    Depths and lengths of the prompts are those of the file.

    Args:
        path: the file.
        backbone: of the teacher; "" for the one that a checkpoint of ours names.
        names: classes.
        unused: patterns of names of tensors that published files hold beside.

    Raises:
        InputError: the file holds no deep prompts or does not fit the backbone, or nothing says which
            backbone that is.
    """
    checkpoint = checkpoints.load(path)
    state, header = checkpoint["state_dict"], checkpoint.get("header")
    if "prompt_learner.ctx" not in state:
        raise checkpoints.CheckpointError(
            f"{path} holds no deep prompts (no prompt_learner.ctx): expected a VLPromptLearner "
            "checkpoint"
        )
    if not backbone and not (header or {}).get("backbone_name"):
        raise InputError(f"{path} does not say which CLIP it was trained on: name the backbone")
    clip = load_clip(
        backbone or header["backbone_name"], (header or {}).get("backbone_activation", "")
    )
    learner = DeepPrompts.shaped_like(state)
    if header:
        own = {"backbone": clip.fingerprint, "earlier_backbone": clip.earlier_fingerprint}
        checkpoints.check_header(path, {"backbone": "", **header}, own)
    model = PromptedCLIP(clip, learner, _template(header, len(learner.ctx)), names)
    LearnedState(model, "", unused).load(path, state, ours=header is not None)
    if saved := checkpoint.get("probe"):
        check_probe(path, saved, probe(model, "fp32", saved["classnames"]))
    return PromptedTeacher(model)


def _template(header: dict | None, count: int) -> PromptTemplate:
    if header and isinstance(header.get("template"), str):
        return PromptTemplate(header["template"], count)
    words = _PUBLISHED_WORDS if count <= len(_PUBLISHED_WORDS.split()) else " ".join(["X"] * count)
    return PromptTemplate.of_context(words, count)
