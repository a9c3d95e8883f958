"""CLIP's text encoder for prompts that share a prefix: exact, and only on the tokens that matter.

Attention is causal, so nothing after EOT reaches a class's feature and the shared prefix has the same
hidden states for every class, deep prompts included. The prefix therefore runs once; each class's
suffix attends to the prefix's keys and values and to its own. Linear layers see suffix tokens packed
without padding; only attention lays them out in a grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .class_prompts import PromptLayout
from .transformer import Block, LayerNorm, Transformer


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
        prefix, suffix = self._embed(layout, context)
        *body, last = self.transformer.resblocks
        grid = _SuffixGrid(layout, prefix.shape[1])
        for index, block in enumerate(body):
            prefix = _replace(prefix, index, deep_prompts)
            prefix, suffix = self._layer(block, grid, prefix, suffix)
        prefix = _replace(prefix, len(body), deep_prompts)
        outputs = self._last_layer(last, grid, prefix, suffix)
        features = self.ln_final(outputs) @ self.text_projection
        return features[0] if context is None or context.ndim == 2 else features

    def _embed(self, layout: PromptLayout, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Input vectors of the prefix (B, S, width) and of the packed suffixes (B, N, width)."""
        table = self.token_embedding(layout.words)[None]
        if context is not None:
            context = context if context.ndim == 3 else context[None]
            table = torch.cat([table.expand(len(context), -1, -1), context.to(table.dtype)], dim=1)
        dtype = self.text_projection.dtype
        prefix = table.index_select(1, layout.prefix)
        prefix = prefix + self.positional_embedding[: len(layout.prefix)]
        suffix = table.index_select(1, layout.suffix) + self.positional_embedding[layout.position]
        return prefix.to(dtype), suffix.to(dtype)

    @staticmethod
    def _layer(
        block: Block, grid: _SuffixGrid, prefix: Tensor, suffix: Tensor
    ) -> tuple[Tensor, Tensor]:
        attention = block.attn
        query, key, value = attention.query_key_value(block.ln_1(prefix))
        own = attention.query_key_value(block.ln_1(suffix))
        own_query, own_key, own_value = (grid.spread(x) for x in own)
        suffix_attended = attention.attend(
            own_query,
            grid.after_prefix(key, own_key),
            grid.after_prefix(value, own_value),
            attn_mask=grid.causal_mask,
        )
        prefix_attended = attention.attend(query, key, value, is_causal=True)
        return (
            block.add_attended(prefix, prefix_attended),
            block.add_attended(suffix, grid.pack(suffix_attended)),
        )

    @staticmethod
    def _last_layer(block: Block, grid: _SuffixGrid, prefix: Tensor, suffix: Tensor) -> Tensor:
        """The last layer's output at every class's EOT only, (B, C, width)."""
        attention = block.attn
        key, value = attention.key_value(block.ln_1(prefix))
        normalised = block.ln_1(suffix)
        own_key, own_value = (grid.spread(x) for x in attention.key_value(normalised))
        query = attention.query(normalised.index_select(1, grid.layout.last))
        attended = attention.attend(
            query.flatten(0, 1).unsqueeze(1),
            grid.after_prefix(key, own_key),
            grid.after_prefix(value, own_value),
            attn_mask=grid.last_mask.repeat(len(prefix), 1, 1, 1),
        )
        eot = suffix.index_select(1, grid.layout.last)
        return block.add_attended(eot, attended.view_as(eot))


class _SuffixGrid:
    """Moves suffixes between packed (B, N, width) and gridded (B * C, longest, width) form."""

    def __init__(self, layout: PromptLayout, shared: int) -> None:
        self.layout = layout
        device = layout.slot.device
        ends = layout.slot[layout.last] % layout.longest
        steps = torch.arange(layout.longest, device=device)
        prefix_seen = torch.ones(layout.longest, shared, dtype=torch.bool, device=device)
        # a query sees the whole prefix and its own suffix up to itself; grid places after EOT come
        # later than every real query, so they need no mask of their own
        own_seen = steps[:, None] >= steps
        self.causal_mask = torch.cat([prefix_seen, own_seen], dim=1)
        self.last_mask = self.causal_mask[ends][:, None, None]

    def spread(self, packed: Tensor) -> Tensor:
        batch, _, width = packed.shape
        grid = packed.new_zeros(batch, len(self.layout) * self.layout.longest, width)
        return grid.index_copy(1, self.layout.slot, packed).view(-1, self.layout.longest, width)

    def pack(self, grid: Tensor) -> Tensor:
        batch = grid.shape[0] // len(self.layout)
        return grid.reshape(batch, -1, grid.shape[-1]).index_select(1, self.layout.slot)

    def after_prefix(self, prefix: Tensor, own: Tensor) -> Tensor:
        """Prefix keys or values (B, S, width) in front of every class's own."""
        repeated = prefix[:, None].expand(-1, len(self.layout), -1, -1).flatten(0, 1)
        return torch.cat([repeated, own], dim=1)


def _replace(prefix: Tensor, layer: int, deep_prompts: Sequence[Tensor]) -> Tensor:
    """Put a layer's own vectors in the place of the outputs at positions 1 to M."""
    if not 0 < layer <= len(deep_prompts):
        return prefix
    prompt = deep_prompts[layer - 1].to(prefix.dtype)
    kept = prefix[:, 1 + len(prompt) :]
    return torch.cat([prefix[:, :1], prompt.expand(len(prefix), -1, -1), kept], dim=1)
