"""CLIP's text encoder for prompts that share a prefix: exact, and only on the tokens that matter.

Attention is causal, so nothing after EOT reaches a class's feature and the shared prefix has the same
hidden states for every class, deep prompts included. The prefix therefore runs once; each class's
suffix attends to the prefix's keys and values and to its own. Suffixes are 3 to 10 tokens long, so
several stand in one row of tokens, kept apart by the attention mask: few tokens are padding, and
attention runs on few rows instead of thousands of tiny problems.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .class_prompts import PromptLayout
from .errors import InputError
from .packing import PackedRows
from .steering import Adapter, TextSteering
from .transformer import OPENAI, Block, BlockKind, LayerNorm, Transformer

# suffix tokens above which training keeps only the input of each layer and computes the rest again in
# the backward pass; at ViT-B/16 size in fp32 this many tokens take about 5 GB without
RECOMPUTE_ABOVE = 16384


class TextEncoder(nn.Module):
    """The text half of CLIP; parameter names as in OpenAI checkpoints."""

    def __init__(
        self,
        vocabulary: int,
        positions: int,
        width: int,
        layers: int,
        embed_dim: int,
        kind: BlockKind = OPENAI,
    ) -> None:
        super().__init__()
        self.width = width
        self.token_embedding = nn.Embedding(vocabulary, width)
        self.positional_embedding = nn.Parameter(torch.empty(positions, width))
        self.transformer = Transformer(width, layers, kind)
        self.ln_final = LayerNorm(width)
        self.text_projection = nn.Parameter(torch.empty(width, embed_dim))

    @property
    def layers(self) -> int:
        return len(self.transformer.resblocks)

    def forward(self, layout: PromptLayout, steering: TextSteering | None = None) -> Tensor:
        """One feature a class, not normalised.

        Args:
            layout: the prompts of C classes.
            steering: what acts inside the encoder; nothing by default.

        Returns:
            (C, embed_dim), or (B, C, embed_dim) for B sets of context vectors.

        Raises:
            InputError: a prompt is longer than what this encoder reads (77 tokens in OpenAI's).
        """
        steering = steering or TextSteering()
        rows = layout.rows
        prefix, suffix = self._embed(layout, rows, steering)
        *body, last = self.transformer.resblocks
        recompute = torch.is_grad_enabled() and suffix.shape[:2].numel() > RECOMPUTE_ABOVE
        for index, block in enumerate(body):
            prefix, suffix, rows = _enter(index, layout, rows, prefix, suffix, steering)
            inputs = block, prefix, suffix, rows, steering.adapters.get(index)
            if recompute:
                prefix, suffix = checkpoint(
                    _layer, *inputs, use_reentrant=False, preserve_rng_state=False
                )
            else:
                prefix, suffix = _layer(*inputs)
        prefix, suffix, rows = _enter(len(body), layout, rows, prefix, suffix, steering)
        normalised = last.ln_1(suffix)
        attended, _ = _attend(last, last.ln_1(prefix), normalised, rows)
        eot = (x.index_select(1, rows.last) for x in (suffix, attended, normalised))
        output = _finish(last, *eot, steering.adapters.get(len(body)))
        features = self.ln_final(output) @ self.text_projection
        context = steering.context
        return features[0] if context is None or context.ndim == 2 else features

    def _embed(
        self, layout: PromptLayout, rows: PackedRows, steering: TextSteering
    ) -> tuple[Tensor, Tensor]:
        """Input vectors of the prefix (B, S, width) and of the rows of suffixes (B, R * T, width)."""
        available = len(self.positional_embedding)
        if rows.needed > available:
            raise InputError(
                f"the longest prompt needs {rows.needed} tokens, and this CLIP's text encoder reads "
                f"{available}: shorten the class names or learn fewer context vectors"
            )
        table = self.token_embedding(layout.words)[None]
        if (context := steering.context) is not None:
            context = context if context.ndim == 3 else context[None]
            table = torch.cat([table.expand(len(context), -1, -1), context.to(table.dtype)], dim=1)
        if steering.embedding_adapter:
            table = table + steering.embedding_adapter(table)
        dtype = self.text_projection.dtype
        prefix = table.index_select(1, layout.prefix)
        prefix = prefix + self.positional_embedding[: len(layout.prefix)]
        suffix = table.index_select(1, rows.suffix) + self.positional_embedding[rows.position]
        return prefix.to(dtype), suffix.to(dtype)


def _enter(
    layer: int,
    layout: PromptLayout,
    rows: PackedRows,
    prefix: Tensor,
    suffix: Tensor,
    steering: TextSteering,
) -> tuple[Tensor, Tensor, PackedRows]:
    """What comes in at the start of a layer."""
    if (prompt := steering.prompts.get(layer)) is not None:
        prefix = _put(prefix, prompt, replaced=len(prompt))
    if (tokens := steering.inserted.get(layer)) is not None:
        prefix = _put(
            prefix, tokens, replaced=0 if layer == min(steering.inserted) else len(tokens)
        )
    if (tokens := steering.class_tokens.get(layer)) is not None:
        aware = layout.class_aware
        tokens = tokens.flatten(0, 1).to(prefix.dtype).expand(len(prefix), -1, -1)
        table = torch.cat([prefix, suffix, tokens], dim=1)
        source = aware.source(steering.class_tokens[layer].shape[1])
        prefix, suffix, rows = prefix[:, :1], table.index_select(1, source), aware.rows
    return prefix, suffix, rows


def _put(prefix: Tensor, vectors: Tensor, replaced: int) -> Tensor:
    """Vectors (M, width) behind the first position, in the place of as many as are replaced."""
    vectors = vectors.to(prefix.dtype).expand(len(prefix), -1, -1)
    return torch.cat([prefix[:, :1], vectors, prefix[:, 1 + replaced :]], dim=1)


def _layer(
    block: Block, prefix: Tensor, suffix: Tensor, rows: PackedRows, adapter: Adapter | None
) -> tuple[Tensor, Tensor]:
    """One block over the prefix (B, S, width) and the rows (B, R * T, width)."""
    normalised = block.ln_1(prefix), block.ln_1(suffix)
    attended, projected = _attend(block, *normalised, rows)
    _, causal = rows.biases(prefix.shape[1], prefix.dtype)
    prefix_attended = block.attn.attend(*projected, causal)
    return (
        _finish(block, prefix, prefix_attended, normalised[0], adapter),
        _finish(block, suffix, attended, normalised[1], adapter),
    )


def _finish(
    block: Block, x: Tensor, attended: Tensor, normalised: Tensor, adapter: Adapter | None
) -> Tensor:
    output = block.add_attended(x, attended)
    return output if adapter is None else output + adapter(normalised)


def _attend(
    block: Block, prefix: Tensor, suffix: Tensor, rows: PackedRows
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """What suffix tokens gather from the prefix and from their own class; and the prefix's q, k, v.

    prefix (B, S, width) and suffix (B, R * T, width) are the block's normalised input.
    """
    attention = block.attn
    projected = attention.query_key_value(prefix)
    count = rows.count
    query, *own = (x.unflatten(1, (count, rows.length)) for x in attention.query_key_value(suffix))
    # every row sees the keys and values of the prefix in front of its own
    key, value = (
        torch.cat([shared[:, None].expand(-1, count, -1, -1), x], dim=2).flatten(0, 1)
        for shared, x in zip(projected[1:], own, strict=True)
    )
    if torch.is_grad_enabled():
        query = query.clone()  # a view would hold the suffix's own keys and values, copied above
    bias, _ = rows.biases(prefix.shape[1], prefix.dtype)
    bias = bias.repeat(len(prefix), 1, 1, 1) if len(prefix) > 1 else bias
    attended = attention.attend(query.flatten(0, 1), key, value, bias)
    return attended.view_as(suffix), projected
