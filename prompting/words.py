"""The words of CLIP's vocabulary that learned context vectors are nearest to, by Euclidean distance."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from clip.simple_tokenizer import SimpleTokenizer
from torch import Tensor

from .errors import InputError

_SAMPLED = 200


def context_of(state: Mapping[str, Tensor]) -> Tensor | None:
    """The context vectors in a state dict, (M, text width), of all classes one after the other; None
    where there are none."""
    for name, value in state.items():
        if name.rpartition(".")[2] == "ctx" and value.dim() in (2, 3):
            return value.detach().float().cpu().flatten(0, -2)
    return None


def nearest_words(context: Tensor, embeddings: Tensor, count: int) -> list[list[tuple[str, float]]]:
    """For every vector of a context (M, width), the nearest words and their distances.

    Args:
        embeddings: (vocabulary, width), of CLIP's tokens.
        count: of words a vector.

    Raises:
        InputError: the widths differ.
    """
    if context.shape[1] != embeddings.shape[1]:
        raise InputError(
            f"the context vectors have {context.shape[1]} numbers and the words of the backbone "
            f"{embeddings.shape[1]}: give the backbone that they were trained with (--backbone)"
        )
    words = SimpleTokenizer()
    distances, tokens = _nearest(context, embeddings, count)
    return [
        [(words.decode([token]).strip(), distance) for token, distance in zip(*row, strict=True)]
        for row in zip(tokens.tolist(), distances.tolist(), strict=True)
    ]


def typical_distance(embeddings: Tensor) -> float:
    """The median distance of a word to the word nearest to it, over a sample of the vocabulary."""
    sample = embeddings[:: max(1, len(embeddings) // _SAMPLED)]
    return float(_nearest(sample, embeddings, 2)[0][:, 1].median())


def _nearest(vectors: Tensor, embeddings: Tensor, count: int) -> tuple[Tensor, Tensor]:
    exact = "donot_use_mm_for_euclid_dist"  # the fast way is off by 1e-4 near zero
    distances = torch.cdist(vectors, embeddings, compute_mode=exact)
    return distances.topk(min(count, len(embeddings)), largest=False)
