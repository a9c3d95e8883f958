"""What is learned: a module that says how its tensors steer the frozen encoders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .backbone import CLIP
from .class_prompts import tokenize
from .errors import InputError
from .steering import ImageSteering, TextSteering


class PromptLearner(nn.Module):
    """All that a method learns, fp32 in every precision; by default it steers nothing.

    Its state dict, buffers included, is what checkpoints hold, under the names that `published_names`
    gives.
    """

    def steer_text(self, image_features: Tensor | None = None) -> TextSteering:
        """What acts inside the text encoder; image_features (B, embed_dim) are normalised, and given
        only by models whose text depends on the image."""
        return TextSteering()

    def steer_image(self) -> ImageSteering:
        """What acts inside the image encoder."""
        return ImageSteering()

    @property
    def images_are_frozen(self) -> bool:
        """Whether nothing learned reaches an image before its feature: that feature is then computed
        once for all runs. A method that wants more of an image than the frozen encoder's feature says
        False."""
        return not self.steer_image().acts

    def published_names(self) -> Mapping[str, str]:
        """Name inside the published model by name in our state dict, for every tensor of it."""
        return {name: f"prompt_learner.{name}" for name in self.state_dict()}

    def fit_classes(self, count: int) -> None:
        """Make room for what a checkpoint has learned of so many classes, where anything belongs to
        single classes."""

    def describe(self) -> dict[str, Any]:
        """What messages about a checkpoint that does not fit should name, beside shapes."""
        return {}

    def published_tensors(self) -> dict[str, Tensor]:
        """The state, not copied, under its published names."""
        return {self.published_names()[k]: v for k, v in self.state_dict(keep_vars=True).items()}


class ExtendedLearner(PromptLearner):
    """What another learner learns, under `base`, and more beside it that steers nothing.

    What is added has its own name in published files too.
    """

    def __init__(self, base: PromptLearner) -> None:
        super().__init__()
        self.base = base

    def steer_text(self, image_features: Tensor | None = None) -> TextSteering:
        return self.base.steer_text(image_features)

    def steer_image(self) -> ImageSteering:
        return self.base.steer_image()

    def added_parameters(self) -> list[nn.Parameter]:
        """The parameters that are not of `base`."""
        return [p for name, p in self.named_parameters() if not name.startswith("base.")]

    def published_names(self) -> dict[str, str]:
        of_base = {f"base.{own}": name for own, name in self.base.published_names().items()}
        return {name: of_base.get(name, name) for name in self.state_dict()}

    def fit_classes(self, count: int) -> None:
        self.base.fit_classes(count)

    def describe(self) -> dict[str, Any]:
        return self.base.describe()


class DeepPrompts(PromptLearner):
    """Context vectors of the text, and vectors of its own for each prompted layer of both encoders.

    ctx: (M, text width), or (C, M, text width) where each class has its own. text_prompts: (M,
    text width) for layers 1, 2, ... of the text encoder. image_prompts: (N, image width) for layers
    0, 1, ... of the image encoder.
    """

    def __init__(
        self, ctx: Tensor, text_prompts: Sequence[Tensor] = (), image_prompts: Sequence[Tensor] = ()
    ) -> None:
        super().__init__()
        self.ctx = nn.Parameter(ctx)
        self.text_prompts = nn.ParameterList(map(nn.Parameter, text_prompts))
        self.image_prompts = nn.ParameterList(map(nn.Parameter, image_prompts))

    @classmethod
    def shaped_like(cls, published: Mapping[str, Tensor]) -> DeepPrompts:
        """Zeros of the depths and lengths of a file, by its published names."""
        blank = {name: torch.zeros_like(each, device="cpu") for name, each in published.items()}
        first = [blank["image_encoder.VPT"]] if "image_encoder.VPT" in blank else []
        deeper = {
            tower: [
                blank[name]
                for layer in range(1, len(blank))
                if (name := f"{tower}.transformer.resblocks.{layer}.VPT_shallow") in blank
            ]
            for tower in ("text_encoder", "image_encoder")
        }
        image_prompts = [*first, *deeper["image_encoder"]]
        return cls(blank["prompt_learner.ctx"], deeper["text_encoder"], image_prompts)

    def steer_text(self, image_features: Tensor | None = None) -> TextSteering:
        return TextSteering(
            context=self.ctx.reshape(-1, self.ctx.shape[-1]),
            prompts=dict(enumerate(self.text_prompts, start=1)),
        )

    def steer_image(self) -> ImageSteering:
        return ImageSteering(prompts=dict(enumerate(self.image_prompts)))

    def describe(self) -> dict[str, Any]:
        return {
            "context_length_text": self.ctx.shape[-2],
            "prompt_depth_text": 1 + len(self.text_prompts),
            "context_length_vision": len(self.image_prompts[0]) if self.image_prompts else 0,
            "prompt_depth_vision": len(self.image_prompts),
        }

    def published_names(self) -> dict[str, str]:
        names = {"ctx": "prompt_learner.ctx", **image_prompt_names(len(self.image_prompts))}
        for index in range(len(self.text_prompts)):
            block = f"text_encoder.transformer.resblocks.{index + 1}.VPT_shallow"
            names[f"text_prompts.{index}"] = block
        return names


def image_prompt_names(layers: int) -> dict[str, str]:
    """Published name by own name of image prompts, a tensor a layer."""
    block = "image_encoder.transformer.resblocks.{}.VPT_shallow"
    published = ["image_encoder.VPT", *map(block.format, range(1, layers))][:layers]
    return {f"image_prompts.{layer}": name for layer, name in enumerate(published)}


def random_vectors(count: int, width: int) -> Tensor:
    """Starting values of learned vectors, N(0, 0.02^2), shape (count, width)."""
    return 0.02 * torch.randn(count, width)


def word_vectors(clip: CLIP, words: str, count: int) -> Tensor:
    """The token embeddings of the first count tokens of some words, (count, text width).

    Raises:
        InputError: the words have fewer tokens.
    """
    tokens = tokenize(words, clip.context_length)[1:-1]
    if len(tokens) < count:
        raise InputError(
            f"CTX_INIT {words!r} has {len(tokens)} tokens, fewer than the {count} context vectors of "
            f"N_CTX: give at least {count} words, lower N_CTX, or set CTX_INIT to '' for random vectors"
        )
    return clip.text.token_embedding.weight[tokens[:count]].detach().clone()
