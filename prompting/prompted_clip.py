"""What a prompt-learning method trains: a frozen CLIP and the learner that steers it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .backbone import CLIP
from .class_prompts import PromptTemplate
from .errors import InputError
from .feature_store import Fetch, compute_all
from .known_images import Images, KnownImages
from .learner import PromptLearner


def normalise(features: Tensor) -> Tensor:
    """Features scaled to unit length along the last dimension, in fp32."""
    return F.normalize(features.float(), dim=-1)


def template_features(
    clip: CLIP, templates: Sequence[str], names: Sequence[str]
) -> Iterator[Tensor]:
    """For every template, the text features (C, embed_dim) of all class names, not normalised.

    One template at a time, since its leading words are the prefix that all classes share.
    """
    for template in templates:
        layout = PromptTemplate(template).layout(names, clip.context_length)
        yield clip.text(layout.to(clip.logit_scale.device))


class TextTeacher:
    """The frozen CLIP's text features of class names, raw features averaged over templates.

    Always computed in fp32 from the stored weights, once for each list of names and on first use, since
    most tests do not need them.

    Args:
        templates: texts with {} for the class name.
        clip: gives the CLIP in fp32 on the device it computes on.
        fetch: where features may be known from.
    """

    def __init__(
        self, templates: Sequence[str], clip: Callable[[], CLIP], fetch: Fetch = compute_all
    ) -> None:
        self.templates, self._clip, self._fetch = templates, clip, fetch
        self._kept: dict[tuple[str, ...], Tensor] = {}

    def __call__(self, names: Sequence[str]) -> Tensor:
        """Normalised features (C, embed_dim)."""
        key = tuple(names)
        if key not in self._kept:
            templates = [PromptTemplate(template) for template in self.templates]
            texts = [("mean", *(template.fill(name) for template in templates)) for name in names]
            self._kept[key] = self._fetch(
                texts, lambda places: self._compute([names[place] for place in places])
            )
        return self._kept[key]

    @torch.no_grad()
    def _compute(self, names: Sequence[str]) -> Tensor:
        clip = self._clip()
        with torch.autocast(clip.logit_scale.device.type, enabled=False):
            total = sum(template_features(clip, self.templates, names))
        return normalise(total / len(self.templates))


class PromptedCLIP(nn.Module):
    """CLIP steered by a learner: images to logits over classes.

    In evaluation the class features are computed on first use and kept until a learned tensor changes.
    While the learner is in training mode they are kept only where nothing learned reaches them.

    Of a subclass: uses_text, whether classes are known by their texts; text_depends_on_image, whether
    every image has class features of its own; knows_trained_classes, whether logits of the classes
    trained on come from more than their texts; own_dataset_only, whether classes of another dataset are
    others whatever their names.

    Args:
        clip: the frozen encoders.
        learner: what is learned.
        template: how every class is asked.
        names: the classes.
        teacher: the frozen CLIP's features of any class names, for methods that have one.
    """

    uses_text = True
    text_depends_on_image = False
    knows_trained_classes = False
    own_dataset_only = False

    def __init__(
        self,
        clip: CLIP,
        learner: PromptLearner,
        template: PromptTemplate,
        names: Sequence[str],
        teacher: Callable[[Sequence[str]], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.clip = clip
        self.prompt_learner = learner
        self.template, self.teacher = template, teacher
        self._set_classes(names)
        self.trained_classes = self.names
        self.eval()

    def _set_classes(self, names: Sequence[str]) -> None:
        self.names = list(names)
        layout = self.template.layout(self.names, self.clip.context_length)
        self.layout = layout.to(self.clip.logit_scale.device)
        self._kept: tuple[object, Tensor] | None = None

    @property
    def bound_to_classes(self) -> bool:
        """Whether what is learned serves the classes trained on alone."""
        return self.template.class_specific or not self.uses_text

    def with_classes(self, names: Sequence[str]) -> PromptedCLIP:
        """The same encoders and learner, shared and not copied, for other classes.

        Raises:
            InputError: what is learned is bound to the classes trained on, or a prompt does not fit.
        """
        if self.bound_to_classes and list(names) != self.names:
            what, advice = "weights", "use a method that knows classes by their names"
            if self.uses_text:
                what, advice = "a context", "train without class-specific contexts (CSC False)"
            raise InputError(
                f"every class has learned {what} of its own, of no use to other classes: keep to "
                f"those trained on ({', '.join(self.names[:3])}, ...), or {advice}"
            )
        other = copy.copy(self)
        other._set_classes(names)
        return other

    def asked_otherwise(
        self, template: PromptTemplate, teacher: Callable[[Sequence[str]], Tensor] | None
    ) -> PromptedCLIP:
        """The same encoders, learner and classes under another template, beside another teacher."""
        other = copy.copy(self)
        other.template, other.teacher = template, teacher
        other._set_classes(self.names)
        return other

    def trained_rows(self) -> list[int] | None:
        """For every class its place among those trained on; None where one of them was not."""
        if self.names == self.trained_classes:
            return list(range(len(self.names)))
        place = {name: index for index, name in enumerate(self.trained_classes)}
        rows = [place.get(name) for name in self.names]
        return None if None in rows else rows

    def to(self, device: torch.device | str) -> PromptedCLIP:
        self.layout = self.layout.to(device)
        self._kept = None
        return super().to(device)

    def teacher_text(self) -> Tensor:
        """The teacher's normalised features of the classes, (C, embed_dim)."""
        return self.teacher(self.names)

    def finish_text(self, features: Tensor) -> Tensor:
        """What becomes of raw text features (C, embed_dim) before they are normalised."""
        return features

    def finish_images(self, features: Tensor) -> Tensor:
        """What becomes of raw image features (B, embed_dim) before they are normalised."""
        return features

    def encode_text(self) -> Tensor:
        """Text features of all classes under what is learned, (C, embed_dim), not normalised."""
        return self.clip.text(self.layout, self.prompt_learner.steer_text())

    def encode_classes(self) -> Tensor:
        """Normalised class features under what is learned, (C, embed_dim)."""
        return normalise(self.finish_text(self.encode_text()))

    def class_features(self) -> Tensor:
        """`encode_classes`, from memory where nothing it depends on has changed."""
        training = self.prompt_learner.training
        if self._kept is not None:
            frozen, state, features = self._kept
            if (frozen or not training) and state == self._learned_state(frozen):
                return features
        with torch.set_grad_enabled(training and torch.is_grad_enabled()):
            features = self.encode_classes()
        frozen = torch.is_grad_enabled() and training and not features.requires_grad
        kept = frozen or not training
        self._kept = (frozen, self._learned_state(frozen), features) if kept else None
        return features

    def _learned_state(self, frozen: bool) -> object:
        # tensors count their in-place changes: steps, loading and swapping all show here
        learner = self.prompt_learner
        tensors = learner.buffers() if frozen else learner.state_dict(keep_vars=True).values()
        return tuple((id(tensor), tensor._version) for tensor in tensors)

    def encode_tokens(self, tokens: Tensor) -> Tensor:
        """Embedded images, (B, 1 + patches, width) -> image features under what is learned,
        (B, embed_dim), not normalised. A vision transformer's alone."""
        return self.clip.image.encode(tokens, self.prompt_learner.steer_image())

    def encode_images(self, images: Images) -> Tensor:
        """Normalised image features under what is learned, (B, embed_dim)."""
        if isinstance(images, KnownImages):
            if self.prompt_learner.images_are_frozen:
                return normalise(self.finish_images(images.features))
            images = images.pixels
        if self.clip.is_vit:
            features = self.encode_tokens(self.clip.image.embed(images))
        else:
            features = self.encode_images_raw(images)
        return normalise(self.finish_images(features))

    def encode_images_twice(self, images: Images) -> tuple[Tensor, Tensor]:
        """Image features under what is learned, and those of the frozen CLIP without gradients.

        The two passes share the embedding of the patches, which nothing learned reaches; where nothing
        acts inside the image encoder they are one.
        """
        if isinstance(images, KnownImages):
            return self.encode_images(images), normalise(images.features)
        if not self.prompt_learner.steer_image().acts:
            features = self.encode_images(images)
            return features, features.detach()
        tokens = self.clip.image.embed(images)
        with torch.no_grad():
            frozen = normalise(self.clip.image.encode(tokens))
        return normalise(self.finish_images(self.encode_tokens(tokens))), frozen

    @torch.no_grad()
    def encode_images_frozen(self, images: Images) -> Tensor:
        """Normalised image features of the frozen CLIP, (B, embed_dim)."""
        return normalise(self.encode_images_raw(images))

    def encode_images_raw(self, images: Images) -> Tensor:
        """Image features of the frozen CLIP as they are, (B, embed_dim)."""
        if isinstance(images, KnownImages):
            return images.features
        return self.clip.image(images.to(self.clip.image.conv1.weight.dtype))

    def logits(self, image_features: Tensor, class_features: Tensor) -> Tensor:
        """exp(logit_scale) times the cosine similarities, (B, C)."""
        return self.clip.logit_scale.exp() * image_features @ class_features.t()

    def forward(self, images: Images) -> Tensor:
        """Images, (B, 3, H, W) normalised as CLIP expects or known -> logits (B, C)."""
        return self.logits(self.encode_images(images), self.class_features())
