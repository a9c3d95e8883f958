"""The plain path of a method: what its published code computes, written the straightforward way."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count, takewhile
from pathlib import Path
from typing import ClassVar

import clip
import torch
import torch.nn.functional as F
from torch import Tensor

from trainers import PromptTrainer

from .encoders import Acts, image_features, insert_context, normalise, text_features


class PlainPath:
    """Every step encodes all classes with 77 tokens each, in all layers.

    A plain path has the name of the trainer that it stands beside, whose settings, starting values and
    optimizer it takes; all that it computes is its own. By default it is a learned context.

    Of a subclass: conditional, whether the texts depend on the image; learns_text, whether anything
    learned reaches them; saves_whole_model, whether published files hold the frozen CLIP too.

    Args:
        trainer: the registered trainer, as built; no reference to it is kept.
        load: gives the CLIP of a backbone's name, of `clip`'s own modules, in fp32 on the device.
        device: where all is computed; on CUDA in fp16, as published.
    """

    conditional: ClassVar[bool] = False
    learns_text: ClassVar[bool] = True
    saves_whole_model: ClassVar[bool] = False

    def __init__(
        self,
        trainer: PromptTrainer,
        load: Callable[[str], clip.model.CLIP],
        device: torch.device,
    ) -> None:
        self.device = device
        self.clip = self.frozen_clip(load, trainer.cfg.MODEL.BACKBONE.NAME)
        self.options = {k: trainer.options_of(n)[k] for n, d in trainer.nodes().items() for k in d}
        model = trainer.model
        template = trainer.build_template()
        self.texts = [template.fill(name) for name in model.names]
        self.templates, self.names = trainer.teacher_templates(), model.names
        if self.templates:
            self.teacher_text = model.teacher_text().to(device)
        self._learn(trainer)
        self.embed_prompts()

    def frozen_clip(self, load: Callable[[str], clip.model.CLIP], name: str) -> clip.model.CLIP:
        """A CLIP on the device, in the precision of the published code."""
        model = load(name)
        if self.device.type == "cuda":
            clip.model.convert_weights(model)
        return model

    def _learn(self, trainer: PromptTrainer) -> None:
        """Copies of what the trainer learns, by published names, under an optimizer like its own."""
        published = trainer.model.prompt_learner.published_tensors()
        self.learned = {
            name: tensor.detach().to(self.device, copy=True).requires_grad_(tensor.requires_grad)
            for name, tensor in published.items()
        }
        own = {id(tensor): self.learned[name] for name, tensor in published.items()}
        groups = [
            {**group, "params": [own[id(tensor)] for tensor in group["params"]]}
            for group in trainer.optim.param_groups
        ]
        self.optimizer = type(trainer.optim)(groups)

    @torch.no_grad()
    def embed_prompts(self) -> None:
        """Tokenise and embed the prompts of all classes."""
        tokens = clip.tokenize(self.texts).to(self.device)
        self.embedded, self.eot = self.clip.token_embedding(tokens), tokens.argmax(dim=-1)

    @torch.no_grad()
    def build(self) -> None:
        """What building takes once CLIP is there: the prompts, and the teacher's text features."""
        self.embed_prompts()
        for template in self.templates:
            texts = [template.format(name.replace("_", " ")) for name in self.names]
            self.clip.encode_text(clip.tokenize(texts).to(self.device))

    # -- what is learned ----------------------------------------------------------------------------

    def several(self, pattern: str, first: int = 0) -> list[Tensor]:
        """Learned tensors whose published names differ in a number, from the first one on."""
        names = takewhile(self.learned.__contains__, map(pattern.format, count(first)))
        return [self.learned[name] for name in names]

    def linear(self, name: str, x: Tensor) -> Tensor:
        """x through a learned linear map, by its published name."""
        bias = self.learned.get(f"{name}.bias")
        return F.linear(x.float(), self.learned[f"{name}.weight"], bias)

    # -- features -----------------------------------------------------------------------------------

    def text_acts(self) -> Acts:
        """What acts inside the text encoder."""
        return Acts()

    def image_acts(self) -> Acts:
        """What acts inside the image encoder."""
        return Acts()

    def encode_text(self, context: Tensor | None = None) -> Tensor:
        """Text features (C, embed_dim), not normalised; of the learned context unless one is given."""
        context = self.learned.get("prompt_learner.ctx") if context is None else context
        vectors = self.embedded
        if context is not None:
            vectors = insert_context(vectors, context, len(context), ())
        return text_features(self.clip, vectors, self.eot, self.text_acts())

    def encode_images(self, images: Tensor) -> Tensor:
        """Image features (B, embed_dim), not normalised."""
        return image_features(self.clip, images, self.image_acts())

    def encode_classes(self) -> Tensor:
        """Normalised text features (C, embed_dim)."""
        return normalise(self.encode_text())

    def logits(self, image: Tensor, text: Tensor) -> Tensor:
        """Logits (B, C) of normalised features."""
        return self.clip.logit_scale.exp() * image @ text.t()

    def __call__(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) -> logits (B, C)."""
        return self.logits(normalise(self.encode_images(images)), self.encode_classes())

    # -- training -----------------------------------------------------------------------------------

    def regularisation(self, image: Tensor, text: Tensor) -> Tensor | float:
        """What the loss adds to the cross entropy, from normalised features."""
        return 0.0

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """The loss of a batch; images are a tuple where a step takes several views."""
        image, text = normalise(self.encode_images(images)), self.encode_classes()
        cross_entropy = F.cross_entropy(self.logits(image, text), labels)
        return cross_entropy + self.regularisation(image, text)

    def backward(self, images: Tensor, labels: Tensor) -> Tensor:
        """The loss, its gradients computed."""
        loss = self.loss(images, labels)
        loss.backward()
        return loss

    def step(self, images: Tensor, labels: Tensor) -> float:
        """One training step; returns the loss."""
        self.optimizer.zero_grad()
        loss = self.backward(images, labels)
        self.optimizer.step()
        return loss.item()

    # -- files --------------------------------------------------------------------------------------

    def what_is_saved(self) -> dict[str, Tensor]:
        """What is learned, with the embeddings of all prompts or the whole model beside."""
        beside = self.clip.state_dict() if self.saves_whole_model else {"embedded": self.embedded}
        return {**self.learned, **beside}

    def end_epoch(self, path: Path) -> None:
        """Write the checkpoint of an epoch."""
        optimizer = self.optimizer.state_dict()
        torch.save({"state_dict": self.what_is_saved(), "epoch": 1, "optimizer": optimizer}, path)


class WithFrozenClip(PlainPath):
    """A path whose published code keeps a second CLIP as it is, and shows it the images."""

    def __init__(
        self,
        trainer: PromptTrainer,
        load: Callable[[str], clip.model.CLIP],
        device: torch.device,
    ) -> None:
        super().__init__(trainer, load, device)
        self.frozen = self.frozen_clip(load, trainer.cfg.MODEL.BACKBONE.NAME)

    @torch.no_grad()
    def frozen_images(self, images: Tensor) -> Tensor:
        """Normalised features (B, embed_dim) of the frozen CLIP."""
        return normalise(image_features(self.frozen, images))
