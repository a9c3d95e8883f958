"""The frozen CLIP's features of sentences: encoded once, in batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from tqdm import tqdm

from .backbone import CLIP
from .class_prompts import layout, tokenize_all
from .feature_store import Fetch, compute_all
from .prompted_clip import normalise

BATCH = 256


def sentence_features(
    texts: Sequence[str], clip: Callable[[], CLIP], fetch: Fetch = compute_all
) -> Tensor:
    """Normalised text features (N, embed_dim) of sentences, in fp32.

    Args:
        texts: N sentences.
        clip: gives the CLIP in fp32, asked only where there is something to compute.
        fetch: where features may be known from.

    Raises:
        InputError: a sentence is longer than CLIP's text encoder takes.
    """
    return fetch(texts, lambda places: encode_sentences(clip(), [texts[p] for p in places]))


@torch.no_grad()
def encode_sentences(clip: CLIP, texts: Sequence[str]) -> Tensor:
    """Normalised text features of sentences, each computed once: (N, embed_dim), on the CPU.

    Raises:
        InputError: a sentence does not fit into CLIP's positions.
    """
    distinct = list(dict.fromkeys(texts))
    device = clip.logit_scale.device
    tokens = tokenize_all(distinct, clip.context_length, "sentence", "Shorten it")
    starts = range(0, len(tokens), BATCH)
    with torch.autocast(device.type, enabled=False):
        batches = [
            normalise(clip.text(layout(tokens[start : start + BATCH]).to(device))).cpu()
            for start in tqdm(starts, desc="sentences", disable=None, leave=False)
        ]
    place = {text: index for index, text in enumerate(distinct)}
    return torch.cat(batches)[[place[text] for text in texts]]
