"""What a prompt-learning method trains: a frozen CLIP and the few vectors that steer it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .backbone import CLIP
from .class_prompts import PromptLayout, clean_name, plain_prompts, tokenize


class PromptLearner(nn.Module):
    """The learned vectors, fp32 in every precision.

    ctx: (M, text width) context vectors, or (C, M, text width) where each class has its own.
    text_prompts: (M, text width) for layers 1, 2, ... of the text encoder.
    image_prompts: (N, image width) for layers 0, 1, ... of the image encoder.
    """

    def __init__(
        self, ctx: Tensor, text_prompts: Sequence[Tensor] = (), image_prompts: Sequence[Tensor] = ()
    ) -> None:
        super().__init__()
        self.ctx = nn.Parameter(ctx)
        self.text_prompts = nn.ParameterList(map(nn.Parameter, text_prompts))
        self.image_prompts = nn.ParameterList(map(nn.Parameter, image_prompts))

    def published_names(self) -> dict[str, nn.Parameter]:
        """The learned tensors under their names inside the published models."""
        named = {"prompt_learner.ctx": self.ctx}
        for layer, prompt in enumerate(self.image_prompts):
            block = f"image_encoder.transformer.resblocks.{layer}.VPT_shallow"
            named[block if layer else "image_encoder.VPT"] = prompt
        for layer, prompt in enumerate(self.text_prompts, start=1):
            named[f"text_encoder.transformer.resblocks.{layer}.VPT_shallow"] = prompt
        return named


def random_vectors(count: int, width: int) -> Tensor:
    """Starting values of learned vectors, N(0, 0.02^2), shape (count, width)."""
    return 0.02 * torch.randn(count, width)


def word_vectors(clip: CLIP, words: str, count: int) -> Tensor:
    """The token embeddings of the first count tokens of some words, (count, text width).

    Raises:
        ValueError: the words have fewer tokens.
    """
    tokens = tokenize(words)[1:-1]
    if len(tokens) < count:
        raise ValueError(
            f"CTX_INIT {words!r} has {len(tokens)} tokens, fewer than the {count} context vectors of "
            f"N_CTX: give at least {count} words, lower N_CTX, or set CTX_INIT to '' for random vectors"
        )
    return clip.text.token_embedding.weight[tokens[:count]].detach().clone()


def normalise(features: Tensor) -> Tensor:
    """Features scaled to unit length along the last dimension, in fp32."""
    return F.normalize(features.float(), dim=-1)


def template_features(
    clip: CLIP, templates: Sequence[str], names: Sequence[str]
) -> Iterator[Tensor]:
    """For every template, the text features (C, embed_dim) of all class names, not normalised.

    One template at a time, since its leading words are the prefix that all classes share.
    """
    device = clip.logit_scale.device
    for template in templates:
        layout = plain_prompts([template.format(clean_name(name)) for name in names])
        yield clip.text(layout.to(device))


class PromptedCLIP(nn.Module):
    """CLIP under learned prompts: images to logits over the classes of a prompt layout.

    In evaluation the class features are computed on first use and kept until a learned tensor or the
    layout changes; while the prompt learner is in training mode they are never kept.
    """

    def __init__(
        self, clip: CLIP, learner: PromptLearner | None, layout: PromptLayout | None
    ) -> None:
        super().__init__()
        self.clip = clip
        self.prompt_learner = learner
        self.layout = layout
        self._kept: tuple[object, Tensor] | None = None

    def to(self, device: torch.device | str) -> PromptedCLIP:
        if self.layout is not None:
            self.layout = self.layout.to(device)
        return super().to(device)

    def encode_classes(self) -> Tensor:
        """Normalised text features of all classes under the prompts, (C, embed_dim)."""
        learner = self.prompt_learner
        if learner is None:
            return normalise(self.clip.text(self.layout))
        context = learner.ctx.reshape(-1, learner.ctx.shape[-1])
        return normalise(self.clip.text(self.layout, context, learner.text_prompts))

    def class_features(self) -> Tensor:
        """`encode_classes`, from memory where nothing it depends on has changed."""
        if self.prompt_learner is not None and self.prompt_learner.training:
            self._kept = None
            return self.encode_classes()
        state = self._text_state()
        if self._kept is None or self._kept[0] != state:
            with torch.no_grad():
                self._kept = (state, self.encode_classes())
        return self._kept[1]

    def _text_state(self) -> object:
        # parameters count their in-place changes: steps, loading and swapping all show here
        learner = self.prompt_learner
        learned = (
            () if learner is None else tuple((id(p), p._version) for p in learner.parameters())
        )
        return id(self.layout), learned

    def encode_images(self, images: Tensor) -> Tensor:
        """Normalised image features under the prompts, (B, embed_dim)."""
        if not self.clip.is_vit:
            return normalise(self.clip.image(images.to(self.clip.image.conv1.weight.dtype)))
        learner = self.prompt_learner
        return normalise(self.clip.image(images, learner.image_prompts if learner else ()))

    def encode_images_twice(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Image features under the prompts, and those of the frozen CLIP without gradients.

        The two passes share the embedding of the patches, which no prompt reaches.
        """
        prompts = self.prompt_learner.image_prompts
        if not prompts:
            features = self.encode_images(images)
            return features, features.detach()
        tokens = self.clip.image.embed(images)
        with torch.no_grad():
            frozen = normalise(self.clip.image.encode(tokens))
        return normalise(self.clip.image.encode(tokens, prompts)), frozen

    def logits(self, image_features: Tensor, class_features: Tensor) -> Tensor:
        """exp(logit_scale) times the cosine similarities, (B, C)."""
        return self.clip.logit_scale.exp() * image_features @ class_features.t()

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W), normalised as CLIP expects -> logits (B, C)."""
        return self.logits(self.encode_images(images), self.class_features())
