"""The plain formula path: what the papers' code computes, written the straightforward way.

Prompts of 77 tokens through the blocks of `clip`'s own modules, the text features of all classes in
every forward pass, a loop over images in CoCoOp, a second CLIP for the teacher, and averages and
checkpoints of whole models. It is the other side of every benchmark, and its formulas are the
reference of the parity tests.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import clip
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import trainers.templates
from prompting.averaging import gaussian_weights

# -- formulas ---------------------------------------------------------------------------------------


def tokenise(names: Sequence[str], prefix: str) -> Tensor:
    """Token ids (C, 77) of "prefix name."."""
    return clip.tokenize([f"{prefix} {name.replace('_', ' ')}." for name in names])


def insert_context(
    embedded: Tensor, context: Tensor, before: int, name_lengths: Sequence[int]
) -> Tensor:
    """Put context (M, width) or (C, M, width) into embedded prompts (C, 77, width).

    The first `before` vectors stand before the name, whose length in tokens is given, and the others
    behind it.
    """
    context = context.expand(len(embedded), *context.shape[-2:])
    count = context.shape[1]
    if before == count:
        return torch.cat([embedded[:, :1], context, embedded[:, 1 + count :]], dim=1)
    rows = []
    for row, ctx, length in zip(embedded, context, name_lengths, strict=True):
        body = row[1 + count :]
        rows.append(torch.cat([row[:1], ctx[:before], body[:length], ctx[before:], body[length:]]))
    return torch.stack(rows)


def prompt_vectors(
    model, names: Sequence[str], prefix: str, context: Tensor, position: str = "end"
) -> tuple[Tensor, Tensor]:
    """Input vectors (C, 77, width) and EOT positions (C,); context (M, width) or (C, M, width)."""
    tokens = tokenise(names, prefix)
    count = context.shape[-2]
    before = {"end": count, "middle": count // 2, "front": 0}[position]
    lengths = [int(clip.tokenize(name.replace("_", " "))[0].argmax()) - 1 for name in names]
    vectors = insert_context(model.token_embedding(tokens), context, before, lengths)
    return vectors, tokens.argmax(dim=-1)


def text_features(
    model, vectors: Tensor, eot: Tensor, deep_prompts: Sequence[Tensor] = ()
) -> Tensor:
    """Features (C, embed_dim), not normalised, from input vectors (C, 77, width)."""
    x = (vectors + model.positional_embedding).to(model.dtype).transpose(0, 1)
    for layer, block in enumerate(model.transformer.resblocks):
        if 0 < layer <= len(deep_prompts):
            prompt = deep_prompts[layer - 1].to(x.dtype)[:, None].expand(-1, x.shape[1], -1)
            x = torch.cat([x[:1], prompt, x[1 + len(prompt) :]])
        x = block(x)
    x = model.ln_final(x.transpose(0, 1))
    return x[torch.arange(len(x)), eot] @ model.text_projection


def image_features(model, images: Tensor, prompts: Sequence[Tensor] = ()) -> Tensor:
    """Features (B, embed_dim), not normalised, of a vision transformer under deep prompts."""
    visual = model.visual
    x = visual.conv1(images.to(model.dtype)).flatten(2).transpose(1, 2)
    x = torch.cat([visual.class_embedding.to(x.dtype).expand(len(x), 1, -1), x], dim=1)
    x = x + visual.positional_embedding.to(x.dtype)
    kept = x.shape[1]
    if prompts:
        x = torch.cat([x, prompts[0].to(x.dtype).expand(len(x), -1, -1)], dim=1)
    x = visual.ln_pre(x).transpose(0, 1)
    for layer, block in enumerate(visual.transformer.resblocks):
        if 0 < layer < len(prompts):
            prompt = prompts[layer].to(x.dtype)[:, None].expand(-1, x.shape[1], -1)
            x = torch.cat([x[:kept], prompt])
        x = block(x)
    return visual.ln_post(x[0]) @ visual.proj


# -- methods ----------------------------------------------------------------------------------------


class CoOp(nn.Module):
    """Learned context; every forward pass encodes all classes."""

    conditional = False
    """Whether the texts depend on the image."""

    def __init__(self, model: clip.model.CLIP, names: Sequence[str], device: torch.device) -> None:
        super().__init__()
        if device.type == "cuda":
            clip.model.convert_weights(model)
        self.clip = model.to(device)
        self.names, self.device = names, device
        self._learn()
        self.to(device)
        learned = [p for p in self.parameters() if p.requires_grad]
        self.optimizer = torch.optim.SGD(learned, lr=0.002, momentum=0.9, weight_decay=5e-4)
        self.embed_prompts()

    @torch.no_grad()
    def embed_prompts(self) -> None:
        """Tokenise and embed the prompts of all classes."""
        tokens = tokenise(self.names, "a photo of a").to(self.device)
        self.register_buffer("embedded", self.clip.token_embedding(tokens))
        self.eot = tokens.argmax(dim=-1)

    def build(self) -> None:
        """What building takes once CLIP is there."""
        self.embed_prompts()

    def _learn(self) -> None:
        words = clip.tokenize("a photo of a")[0, 1:5].to(self.device)
        self.ctx = nn.Parameter(self.clip.token_embedding(words).detach().clone())
        self.deep_text, self.deep_image = nn.ParameterList(), nn.ParameterList()

    def encode_classes(self, context: Tensor | None = None) -> Tensor:
        """Normalised text features (C, embed_dim)."""
        context = self.ctx if context is None else context
        vectors = insert_context(self.embedded, context, len(context), ())
        return normalise(text_features(self.clip, vectors, self.eot, list(self.deep_text)))

    def encode_images(self, images: Tensor) -> Tensor:
        """Normalised image features (B, embed_dim)."""
        return normalise(image_features(self.clip, images, list(self.deep_image)))

    def forward(self, images: Tensor) -> Tensor:
        scale = self.clip.logit_scale.exp()
        return scale * self.encode_images(images) @ self.encode_classes().t()

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(self(images), labels)

    def step(self, images: Tensor, labels: Tensor) -> float:
        """One training step; returns the loss."""
        loss = self.loss(images, labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def what_is_saved(self) -> dict[str, Tensor]:
        """The prompt learner, with the embeddings of all prompts that it keeps."""
        return {k: v for k, v in self.state_dict().items() if not k.startswith("clip.")}

    def end_epoch(self, path: Path) -> None:
        """Write the checkpoint of an epoch."""
        state = {
            "state_dict": self.what_is_saved(),
            "epoch": 1,
            "optimizer": self.optimizer.state_dict(),
        }
        torch.save(state, path)


class CoCoOp(CoOp):
    """A context for every image, one image after the other."""

    conditional = True

    def _learn(self) -> None:
        super()._learn()
        dim = self.clip.text_projection.shape[1]
        self.meta_net = nn.Sequential(
            nn.Linear(dim, dim // 16), nn.ReLU(), nn.Linear(dim // 16, self.ctx.shape[1])
        )

    def forward(self, images: Tensor) -> Tensor:
        features = self.encode_images(images)
        shifts = self.meta_net(features.float())
        logits = [
            self.clip.logit_scale.exp() * feature @ self.encode_classes(self.ctx + shift).t()
            for feature, shift in zip(features, shifts, strict=True)
        ]
        return torch.stack(logits)


class IVLP(CoOp):
    """Deep prompts in both encoders: 4 vectors each, 9 layers each."""

    def _learn(self) -> None:
        super()._learn()
        text_width, image_width = self.ctx.shape[1], self.clip.visual.proj.shape[0]
        # the context itself is the text prompt of the first layer
        self.deep_text = nn.ParameterList(0.02 * torch.randn(4, text_width) for _ in range(8))
        self.deep_image = nn.ParameterList(0.02 * torch.randn(4, image_width) for _ in range(9))

    def what_is_saved(self) -> dict[str, Tensor]:
        """The whole model."""
        return self.state_dict()


class PromptSRC(IVLP):
    """IVLP with a second, frozen CLIP as its teacher and Gaussian averages of the whole model."""

    def __init__(self, model: clip.model.CLIP, names: Sequence[str], device: torch.device) -> None:
        super().__init__(model, names, device)
        self.teacher = copy.deepcopy(self.clip)
        self.weight = gaussian_weights(20, 15, 1)[0]
        self.average: dict[str, Tensor] | None = None
        # speed does not depend on the values; `encode_templates` computes the real ones
        random = torch.randn(len(names), model.text_projection.shape[1])
        self.teacher_text = normalise(random).to(device)

    def build(self) -> None:
        super().build()
        self.encode_templates()

    @torch.no_grad()
    def encode_templates(self) -> Tensor:
        """Normalised teacher text features (C, embed_dim), averaged over 60 templates."""
        every = []
        for template in trainers.templates.TEACHER:
            texts = [template.format(name.replace("_", " ")) for name in self.names]
            every.append(self.teacher.encode_text(clip.tokenize(texts).to(self.device)))
        return normalise(torch.stack(every).mean(0))

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        image, text = self.encode_images(images), self.encode_classes()
        with torch.no_grad():
            teacher_image = normalise(image_features(self.teacher, images))
        scale = self.clip.logit_scale.exp()
        logits = scale * image @ text.t()
        teacher_logits = scale * teacher_image @ self.teacher_text.t()
        kl = F.kl_div(
            F.log_softmax(logits, 1),
            F.log_softmax(teacher_logits, 1),
            reduction="sum",
            log_target=True,
        )
        return (
            F.cross_entropy(logits, labels)
            + 25 * F.l1_loss(text, self.teacher_text)
            + 10 * F.l1_loss(image, teacher_image)
            + kl / logits.numel()
        )

    @torch.no_grad()
    def end_epoch(self, path: Path) -> None:
        """Add the weighted whole model to the average, and write the checkpoint of an epoch."""
        current = {k: self.weight * v for k, v in copy.deepcopy(self.state_dict()).items()}
        if self.average is None:
            self.average = current
        else:
            self.average = {k: v + current[k] for k, v in self.average.items()}
        super().end_epoch(path)


def normalise(features: Tensor) -> Tensor:
    """Features (..., embed_dim) scaled to unit length."""
    return features / features.norm(dim=-1, keepdim=True)


METHODS = {"CoOp": CoOp, "CoCoOp": CoCoOp, "IVLP": IVLP, "PromptSRC": PromptSRC}
