"""CLIP's text encoder for prompts that share a prefix: exact, and only on the tokens that matter.

Attention is causal, so nothing after EOT reaches a class's feature and the shared prefix has the same
hidden states for every class, deep prompts included. The prefix therefore runs once; each class's
suffix attends to the prefix's keys and values and to its own. Suffixes are 3 to 10 tokens long, so
several stand in one row of tokens, kept apart by the attention mask: few tokens are padding, and
attention runs on few rows instead of thousands of tiny problems.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .class_prompts import PromptLayout
from .transformer import Block, LayerNorm, Transformer

# rows are at least as long as this: shorter ones make attention slow, longer ones make it wasteful
ROW = 32
# suffix tokens above which training keeps only the input of each layer and computes the rest again in
# the backward pass; at ViT-B/16 size in fp32 this many tokens take about 5 GB without
RECOMPUTE_ABOVE = 16384


class TextEncoder(nn.Module):
    """The text half of CLIP; parameter names as in OpenAI checkpoints."""

    def __init__(self, vocabulary: int, positions: int, width: int, layers: int, embed_dim: int):
        super().__init__()
        self.width = width
        self.token_embedding = nn.Embedding(vocabulary, width)
        self.positional_embedding = nn.Parameter(torch.empty(positions, width))
        self.transformer = Transformer(width, layers)
        self.ln_final = LayerNorm(width)
        self.text_projection = nn.Parameter(torch.empty(width, embed_dim))
        self._rows: _Rows | None = None

    @property
    def layers(self) -> int:
        return len(self.transformer.resblocks)

    def forward(
        self,
        layout: PromptLayout,
        context: Tensor | None = None,
        deep_prompts: Sequence[Tensor] = (),
    ) -> Tensor:
        """One feature a class, not normalised.

        Args:
            layout: the prompts of C classes.
            context: (K, width) context vectors that the layout refers to, or (B, K, width) for B sets
                of them at once (CoCoOp: one set an image); None where the layout holds words only.
            deep_prompts: (M, width) each, for layers 1, 2, ...; they replace positions 1 to M at the
                start of their layer (IVLP). Positions 1 to M must lie in the shared prefix.

        Returns:
            (C, embed_dim), or (B, C, embed_dim) for B sets of context vectors.
        """
        if self._rows is None or self._rows.layout is not layout:
            self._rows = _Rows(layout)
        rows = self._rows
        prefix, suffix = self._embed(rows, context)
        *body, last = self.transformer.resblocks
        bias = _bias(rows.sees, prefix.dtype).repeat(len(prefix), 1, 1, 1)
        prefix_bias = _bias(rows.prefix_sees, prefix.dtype)
        recompute = torch.is_grad_enabled() and suffix.shape[:2].numel() > RECOMPUTE_ABOVE
        for index, block in enumerate(body):
            prefix = _replace(prefix, index, deep_prompts)
            inputs = block, prefix, suffix, bias, prefix_bias
            if recompute:
                prefix, suffix = checkpoint(
                    _layer, *inputs, use_reentrant=False, preserve_rng_state=False
                )
            else:
                prefix, suffix = _layer(*inputs)
        prefix = _replace(prefix, len(body), deep_prompts)
        attended, _ = _attend(last, prefix, suffix, bias)
        eot = (x.index_select(1, rows.last) for x in (suffix, attended))
        features = self.ln_final(last.add_attended(*eot)) @ self.text_projection
        return features[0] if context is None or context.ndim == 2 else features

    def _embed(self, rows: _Rows, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Input vectors of the prefix (B, S, width) and of the rows of suffixes (B, R * T, width)."""
        layout = rows.layout
        table = self.token_embedding(layout.words)[None]
        if context is not None:
            context = context if context.ndim == 3 else context[None]
            table = torch.cat([table.expand(len(context), -1, -1), context.to(table.dtype)], dim=1)
        dtype = self.text_projection.dtype
        prefix = table.index_select(1, layout.prefix)
        prefix = prefix + self.positional_embedding[: len(layout.prefix)]
        suffix = table.index_select(1, rows.suffix) + self.positional_embedding[rows.position]
        return prefix.to(dtype), suffix.to(dtype)


def _layer(
    block: Block, prefix: Tensor, suffix: Tensor, bias: Tensor, prefix_bias: Tensor
) -> tuple[Tensor, Tensor]:
    """One block over the prefix (B, S, width) and the rows (B, R * T, width)."""
    attended, prefix_projected = _attend(block, prefix, suffix, bias)
    prefix_attended = block.attn.attend(*prefix_projected, prefix_bias)
    return block.add_attended(prefix, prefix_attended), block.add_attended(suffix, attended)


def _attend(
    block: Block, prefix: Tensor, suffix: Tensor, bias: Tensor
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """What suffix tokens gather from the prefix and from their own class; and the prefix's q, k, v.

    bias (B * R, 1, T, S + T) says what each token sees.
    """
    attention = block.attn
    projected = attention.query_key_value(block.ln_1(prefix))
    count, row = bias.shape[0] // len(prefix), bias.shape[2]
    query, *own = (
        x.unflatten(1, (count, row)) for x in attention.query_key_value(block.ln_1(suffix))
    )
    # every row sees the keys and values of the prefix in front of its own
    key, value = (
        torch.cat([shared[:, None].expand(-1, count, -1, -1), x], dim=2).flatten(0, 1)
        for shared, x in zip(projected[1:], own, strict=True)
    )
    attended = attention.attend(query.flatten(0, 1), key, value, bias)
    return attended.view_as(suffix), projected


def _bias(sees: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where a token sees another, else minus infinity: what attention adds to its scores."""
    return torch.zeros(sees.shape, dtype=dtype, device=sees.device).masked_fill(~sees, -torch.inf)


class _Rows:
    """The suffixes of a layout in R rows of T tokens, each class whole within one row.

    suffix, position: (R * T,) as in the layout; padding repeats its first token. last: (C,) the place
    of each class's EOT. sees: (R, 1, T, S + T), true where a token sees another: all of the prefix,
    and its own class up to itself. prefix_sees: (S, S), the same within the prefix.
    """

    def __init__(self, layout: PromptLayout) -> None:
        self.layout = layout
        device = layout.last.device
        last = layout.last.cpu()
        lengths = last.diff(prepend=torch.tensor([-1]))
        shortest = max(ROW, int(lengths.max()))
        row, rows = min(
            ((row, _pack(lengths.tolist(), row)) for row in range(shortest, shortest * 3 // 2)),
            key=lambda packed: packed[0] * len(packed[1]),
        )
        source = torch.zeros(len(rows), row, dtype=torch.long)
        owner = torch.full((len(rows), row), -1)
        self.last = torch.empty_like(layout.last)
        for index, classes in enumerate(rows):
            tokens = [torch.arange(last[c] + 1 - lengths[c], last[c] + 1) for c in classes]
            tokens, owners = torch.cat(tokens), torch.repeat_interleave(lengths[classes])
            source[index, : len(tokens)] = tokens
            owner[index, : len(tokens)] = torch.tensor(classes)[owners]
            self.last[classes] = index * row + lengths[classes].cumsum(0).to(device) - 1
        source = source.flatten().to(device)
        self.suffix, self.position = layout.suffix[source], layout.position[source]
        own = (owner[:, :, None] == owner[:, None]).tril()
        shared = len(layout.prefix)
        prefix = torch.ones(len(rows), row, shared, dtype=torch.bool)
        self.sees = torch.cat([prefix, own], dim=2)[:, None].to(device)
        self.prefix_sees = torch.ones(shared, shared, dtype=torch.bool, device=device).tril()


def _pack(lengths: Sequence[int], row: int) -> list[list[int]]:
    """Indices of the lengths in rows that hold at most `row` (best fit, the longest first)."""
    rows: list[list[int]] = []
    with_room: list[list[int]] = [[] for _ in range(row + 1)]
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        length = lengths[index]
        room = next((room for room in range(length, row + 1) if with_room[room]), row)
        if with_room[room]:
            place = with_room[room].pop()
        else:
            place = len(rows)
            rows.append([])
        rows[place].append(index)
        with_room[room - length].append(place)
    return rows


def _replace(prefix: Tensor, layer: int, deep_prompts: Sequence[Tensor]) -> Tensor:
    """Put a layer's own vectors in the place of the outputs at positions 1 to M."""
    if not 0 < layer <= len(deep_prompts):
        return prefix
    prompt = deep_prompts[layer - 1].to(prefix.dtype)
    kept = prefix[:, 1 + len(prompt) :]
    return torch.cat([prefix[:, :1], prompt.expand(len(prefix), -1, -1), kept], dim=1)
