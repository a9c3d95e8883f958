"""The transformer of CLIP (Radford et al. 2021), batch first, on weights in OpenAI's layout.

Parameter names are those of the published checkpoints, so that a state dict loads strictly. The
blocks are open to their users: the text encoder shares the work of common prefixes and both encoders
leave out what no one reads, and for that they call a block's halves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .errors import InputError
from .steering import Adapter

HEAD_WIDTH = 64
"""Dimensions of a head in OpenAI's CLIPs, whose files do not say how many heads they have."""


class LayerNorm(nn.LayerNorm):
    """Layer normalisation computed in fp32 whatever the precision of its input."""

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu":  # its kernel reads half precision and computes in fp32
            return super().forward(x)
        return super().forward(x.float()).to(x.dtype)


class _QuickGELU(torch.autograd.Function):
    """silu(1.702 x) / 1.702; the two factors cancel in the gradient, which autograd cannot know."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        scaled = 1.702 * x
        ctx.save_for_backward(scaled)
        return F.silu(scaled).div_(1.702)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return torch.ops.aten.silu_backward(gradient, *ctx.saved_tensors)


class QuickGELU(nn.Module):
    """The activation of OpenAI's CLIPs, x * sigmoid(1.702 x)."""

    def forward(self, x: Tensor) -> Tensor:
        return _QuickGELU.apply(x)


QUICK_GELU = "quick_gelu"
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {QUICK_GELU: QuickGELU, "gelu": nn.GELU}
"""By the names that configurations give them."""


@dataclass(frozen=True)
class BlockKind:
    """What the width of a transformer's blocks leaves open; by default as in OpenAI's CLIPs.

    heads: None for one for every 64 dimensions. hidden: the width inside the MLP; None for four times
    the width. activation: a name in `ACTIVATIONS`.
    """

    heads: int | None = None
    hidden: int | None = None
    activation: str = QUICK_GELU

    def heads_of(self, width: int) -> int:
        """The number of heads at a width.

        Raises:
            InputError: they do not share it evenly.
        """
        heads = self.heads or width // HEAD_WIDTH
        if heads < 1 or width % heads:
            raise InputError(f"a width of {width} cannot be shared by {heads} attention heads")
        return heads


OPENAI = BlockKind()


class Attention(nn.Module):
    """The projections of multi-head self-attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * width))
        self.out_proj = nn.Linear(width, width)

    def split_heads(self, x: Tensor) -> Tensor:
        """(..., tokens, width) -> (..., heads, tokens, width / heads)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(-3, -2)

    def query_key_value(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Project x (..., tokens, width) to queries, keys and values of the same shape."""
        return F.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)

    def query(self, x: Tensor) -> Tensor:
        """Project x to queries only."""
        width = x.shape[-1]
        return F.linear(x, self.in_proj_weight[:width], self.in_proj_bias[:width])

    def key_value(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Project x to keys and values only."""
        width = x.shape[-1]
        return F.linear(x, self.in_proj_weight[width:], self.in_proj_bias[width:]).chunk(2, dim=-1)

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None
    ) -> Tensor:
        """Scaled dot-product attention of (batch, tokens, width) tensors, heads merged again.

        bias (batch, 1, queries, keys), or a shape that broadcasts to it, is added to the scores.
        """
        heads = [self.split_heads(x) for x in (query, key, value)]
        # PyTorch's fused attention in bfloat16 on CPUs is several times slower backward than this
        by_parts = query.dtype == torch.bfloat16 and query.device.type == "cpu"
        if by_parts and query.requires_grad:
            attended = _attend_by_parts(*heads, bias)
        else:
            attended = F.scaled_dot_product_attention(*heads, attn_mask=bias)
        return attended.transpose(-3, -2).flatten(-2)


def _attend_by_parts(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    if bias is not None:
        scores = scores + bias
    return scores.softmax(-1) @ value


class Block(nn.Module):
    """One residual block: x + attention(ln_1(x)), then x + mlp(ln_2(x))."""

    def __init__(self, width: int, kind: BlockKind = OPENAI) -> None:
        super().__init__()
        hidden = kind.hidden or 4 * width
        self.ln_1 = LayerNorm(width)
        self.attn = Attention(width, kind.heads_of(width))
        self.ln_2 = LayerNorm(width)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, hidden))
        self.mlp.add_module("gelu", ACTIVATIONS[kind.activation]())
        self.mlp.add_module("c_proj", nn.Linear(hidden, width))

    def add_attended(self, x: Tensor, attended: Tensor) -> Tensor:
        """The rest of the block once attention is done; x and attended (..., tokens, width)."""
        x = x + self.attn.out_proj(attended)
        return x + self.mlp(self.ln_2(x))

    def forward(self, x: Tensor, adapter: Adapter | None = None) -> Tensor:
        """Unmasked self-attention over x (batch, tokens, width), an adapter beside the block."""
        normalised = self.ln_1(x)
        attended = self.attn.attend(*self.attn.query_key_value(normalised))
        output = self.add_attended(x, attended)
        return output if adapter is None else output + adapter(normalised)

    def first_outputs(self, x: Tensor, count: int, adapter: Adapter | None = None) -> Tensor:
        """What `forward` gives at the first positions, (batch, count, width), at a fraction of its
        cost."""
        normalised = self.ln_1(x)
        query = self.attn.query(normalised[:, :count])
        attended = self.attn.attend(query, *self.attn.key_value(normalised))
        output = self.add_attended(x[:, :count], attended)
        return output if adapter is None else output + adapter(normalised[:, :count])


class Transformer(nn.Module):
    """A stack of blocks under the name that checkpoints use."""

    def __init__(self, width: int, layers: int, kind: BlockKind = OPENAI) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(Block(width, kind) for _ in range(layers))
