"""The plain formula: prompts of 77 tokens through the blocks of `clip`'s own modules.

Written from the papers and kept apart from prompting/, as the reference of the parity tests.
"""

from __future__ import annotations

from collections.abc import Sequence

import clip
import torch
from torch import Tensor


def prompt_vectors(
    model, names: Sequence[str], prefix: str, context: Tensor, position: str = "end"
) -> tuple[Tensor, Tensor]:
    """Input vectors (C, 77, width) and EOT positions (C,); context (M, width) or (C, M, width)."""
    names = [name.replace("_", " ") for name in names]
    tokens = clip.tokenize([f"{prefix} {name}." for name in names])
    embedded = model.token_embedding(tokens)
    if context.ndim == 2:
        context = context.expand(len(names), -1, -1)
    count = context.shape[1]
    before = {"end": count, "middle": count // 2, "front": 0}[position]
    rows = []
    for row, ctx, name in zip(embedded, context, names, strict=True):
        body = row[1 + count :]
        bare = 0 if position == "end" else int(clip.tokenize(name)[0].argmax()) - 1
        parts = [row[:1], ctx[:before], body[:bare], ctx[before:], body[bare:]]
        rows.append(torch.cat(parts))
    return torch.stack(rows), tokens.argmax(dim=-1)


def text_features(
    model, vectors: Tensor, eot: Tensor, deep_prompts: Sequence[Tensor] = ()
) -> Tensor:
    """Features (C, embed_dim), not normalised, from input vectors (C, 77, width)."""
    x = (vectors + model.positional_embedding).transpose(0, 1)
    for layer, block in enumerate(model.transformer.resblocks):
        if 0 < layer <= len(deep_prompts):
            prompt = deep_prompts[layer - 1][:, None].expand(-1, x.shape[1], -1)
            x = torch.cat([x[:1], prompt, x[1 + len(prompt) :]])
        x = block(x)
    x = model.ln_final(x.transpose(0, 1))
    return x[torch.arange(len(x)), eot] @ model.text_projection


def image_features(model, images: Tensor, prompts: Sequence[Tensor] = ()) -> Tensor:
    """Features (B, embed_dim), not normalised, of a vision transformer under deep prompts."""
    visual = model.visual
    x = visual.conv1(images).flatten(2).transpose(1, 2)
    x = torch.cat([visual.class_embedding.expand(len(x), 1, -1), x], dim=1)
    x = x + visual.positional_embedding
    kept = x.shape[1]
    if prompts:
        x = torch.cat([x, prompts[0].expand(len(x), -1, -1)], dim=1)
    x = visual.ln_pre(x).transpose(0, 1)
    for layer, block in enumerate(visual.transformer.resblocks):
        if 0 < layer < len(prompts):
            x = torch.cat([x[:kept], prompts[layer][:, None].expand(-1, x.shape[1], -1)])
        x = block(x)
    return visual.ln_post(x[0]) @ visual.proj
