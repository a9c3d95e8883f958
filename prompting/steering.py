"""What may act inside the frozen encoders: vectors at positions of a layer, adapters beside a block.

Layers count from 0. All fields are empty by default: an encoder without steering is CLIP's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

Adapter = Callable[[Tensor], Tensor]
"""Normalised input of a block (..., width) -> what is added to the block's output, token by token."""


@dataclass(frozen=True)
class Steering:
    """What both encoders take.

    inserted: by layer, (N, width) tokens behind the first position (CLS, or SOS). At the first of these
    layers they come in between, and from the next ones on they take the place of the earlier ones. They
    get no position.
    adapters: by layer, what is added to the block's output. embedding_adapter: the same at the input
    (text: of the token embeddings before positions are added; images: of ln_pre's output).
    """

    inserted: Mapping[int, Tensor] = field(default_factory=dict)
    adapters: Mapping[int, Adapter] = field(default_factory=dict)
    embedding_adapter: Adapter | None = None

    @property
    def num_inserted(self) -> int:
        return len(next(iter(self.inserted.values()))) if self.inserted else 0


@dataclass(frozen=True)
class TextSteering(Steering):
    """What the text encoder takes.

    context: (K, width) vectors that the layout refers to, or (B, K, width) for B sets of them at once;
    None where the layout holds words only. prompts: by layer from 1, (M, width) vectors that take the
    place of positions 1 to M at its start; they must lie in the shared prefix. class_tokens: by layer,
    (C, M, width), the same with vectors of each class's own; at one layer only.
    """

    context: Tensor | None = None
    prompts: Mapping[int, Tensor] = field(default_factory=dict)
    class_tokens: Mapping[int, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class ImageSteering(Steering):
    """What the image encoder takes.

    prompts: by layer, (N, width) vectors behind the patch tokens; those of a later layer take the place
    of the earlier ones. They get no position.
    """

    prompts: Mapping[int, Tensor] = field(default_factory=dict)

    @property
    def acts(self) -> bool:
        """Whether anything differs from the frozen encoder."""
        return bool(self.prompts or self.inserted or self.adapters or self.embedding_adapter)
