"""The frozen CLIP's features of sentences: encoded once, in batches, and kept on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from tqdm import tqdm

from . import feature_cache
from .backbone import CLIP
from .class_prompts import layout, tokenize_all
from .prompted_clip import normalise

BATCH = 256
FORMAT = 1


def sentence_features(fingerprint: str, texts: Sequence[str], clip: Callable[[], CLIP]) -> Tensor:
    """Normalised text features of sentences, from the cache where that has them.

    A file of the cache belongs to these texts and this backbone alone. One that is damaged is computed
    again, and a cache that cannot be written is gone without; either is said.

    Args:
        fingerprint: of the backbone.
        texts: N sentences.
        clip: gives the CLIP in fp32, asked only where there is something to compute.

    Returns:
        (N, embed_dim), fp32, on the CPU.

    Raises:
        InputError: a sentence is longer than CLIP's text encoder takes.
    """
    key = json.dumps([FORMAT, fingerprint, list(texts)])
    path = feature_cache.path_of("sentences", key)
    if kept := feature_cache.read(path, key):
        return kept["features"]
    features = encode_sentences(clip(), texts)
    feature_cache.write(path, {"features": features}, key)
    return features


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
