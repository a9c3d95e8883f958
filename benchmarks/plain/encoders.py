"""The encoders of every plain path: prompts of 77 tokens, all of them, through `clip`'s own modules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import clip
import torch
from torch import Tensor

Change = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Acts:
    """What acts inside an encoder; nothing by default.

    embedded: the embedded tokens (tokens, N, width) before the first layer -> those that go in. enter:
    by layer, the same at its start. beside: by layer, the block's normalised input -> what is added to
    its output.
    """

    embedded: Change = lambda x: x
    enter: Mapping[int, Change] = field(default_factory=dict)
    beside: Mapping[int, Change] = field(default_factory=dict)


def put(x: Tensor, vectors: Tensor, start: int, replaced: int) -> Tensor:
    """x (tokens, N, width) with vectors (M, width), or (M, N, width), at `start`, in the place of as
    many tokens as are replaced."""
    vectors = vectors if vectors.ndim == 3 else vectors[:, None]
    vectors = vectors.to(x.dtype).expand(-1, x.shape[1], -1)
    return torch.cat([x[:start], vectors, x[start + replaced :]])


def text_prompts(prompts: Sequence[Tensor]) -> Acts:
    """Deep text prompts (M, width) of layers 1, 2, ... in the place of positions 1 to M."""
    deeper = enumerate(prompts, start=1)
    return Acts(enter={k: partial(put, vectors=p, start=1, replaced=len(p)) for k, p in deeper})


def image_prompts(model: clip.model.CLIP, prompts: Sequence[Tensor]) -> Acts:
    """Deep image prompts (M, width) of layers 0, 1, ... behind the patch tokens."""
    if not prompts:
        return Acts()
    first, *deeper = prompts
    behind = partial(put, start=len(model.visual.positional_embedding))
    return Acts(
        embedded=partial(behind, vectors=first, replaced=0),
        enter={
            k: partial(behind, vectors=p, replaced=len(p)) for k, p in enumerate(deeper, start=1)
        },
    )


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
    model: clip.model.CLIP,
    names: Sequence[str],
    prefix: str,
    context: Tensor,
    position: str = "end",
) -> tuple[Tensor, Tensor]:
    """Input vectors (C, 77, width) and EOT positions (C,); context (M, width) or (C, M, width)."""
    tokens = tokenise(names, prefix)
    count = context.shape[-2]
    before = {"end": count, "middle": count // 2, "front": 0}[position]
    lengths = [int(clip.tokenize(name.replace("_", " "))[0].argmax()) - 1 for name in names]
    vectors = insert_context(model.token_embedding(tokens), context, before, lengths)
    return vectors, tokens.argmax(dim=-1)


def _transformer(blocks: Sequence[torch.nn.Module], x: Tensor, acts: Acts) -> Tensor:
    """x (tokens, N, width) through blocks of `clip`."""
    for layer, block in enumerate(blocks):
        if layer in acts.enter:
            x = acts.enter[layer](x)
        beside = acts.beside[layer](block.ln_1(x)) if layer in acts.beside else 0
        x = block(x) + beside
    return x


def text_features(
    model: clip.model.CLIP, vectors: Tensor, eot: Tensor, acts: Acts | None = None
) -> Tensor:
    """Features (C, embed_dim), not normalised, from input vectors (C, 77, width).

    Args:
        eot: (C,) where each class's feature is read behind the last layer.
    """
    x = (vectors + model.positional_embedding).to(model.dtype).transpose(0, 1)
    x = _transformer(model.transformer.resblocks, x, acts or Acts())
    x = model.ln_final(x.transpose(0, 1))
    return x[torch.arange(len(x)), eot] @ model.text_projection


def image_tokens(model: clip.model.CLIP, images: Tensor, acts: Acts | None = None) -> Tensor:
    """The last layer's output (tokens, B, width) of a vision transformer."""
    acts, visual = acts or Acts(), model.visual
    x = visual.conv1(images.to(model.dtype)).flatten(2).transpose(1, 2)
    x = torch.cat([visual.class_embedding.to(x.dtype).expand(len(x), 1, -1), x], dim=1)
    x = (x + visual.positional_embedding.to(x.dtype)).transpose(0, 1)
    return _transformer(visual.transformer.resblocks, visual.ln_pre(acts.embedded(x)), acts)


def image_features(model: clip.model.CLIP, images: Tensor, acts: Acts | None = None) -> Tensor:
    """Features (B, embed_dim), not normalised, of a vision transformer."""
    return model.visual.ln_post(image_tokens(model, images, acts)[0]) @ model.visual.proj


def normalise(features: Tensor) -> Tensor:
    """Features (..., embed_dim) scaled to unit length."""
    return features / features.norm(dim=-1, keepdim=True)
