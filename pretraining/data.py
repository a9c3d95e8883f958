"""Drawing the pre-training set in parallel, into memory."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import torch
from joblib import Parallel, delayed
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from prompting.backbone import CLIP_DEVIATION, CLIP_MEAN

from .captions import KINDS, picture
from .captions import captions as write_captions

CHUNK = 500


@dataclass
class PretrainingSet:
    """Pictures (N, R, R, 3) in bytes; captions (N, K, L) as indices of ``vocabulary``, zero after
    EOT; the positions (N, K) of EOT; the kinds (N,) of the pictures, numbered; and the ids of the
    tokens seen in OpenAI's tokenizer, EOT last."""

    pictures: np.ndarray
    kinds: np.ndarray
    captions: np.ndarray
    ends: np.ndarray
    vocabulary: list[int]


def draw_set(seed: int, pictures: int, captions: int, resolution: int) -> PretrainingSet:
    """Draw and tokenise; the same for any number of processes."""
    starts = range(0, pictures, CHUNK)
    jobs = (
        delayed(_draw_chunk)(seed, start, min(CHUNK, pictures - start), captions, resolution)
        for start in starts
    )
    processes = min(os.cpu_count() or 1, len(starts))
    parts = Parallel(n_jobs=processes, return_as="generator")(jobs)
    drawn, kinds, sentences = np.empty((pictures, resolution, resolution, 3), np.uint8), [], []
    for start, (images, of_kind, said) in zip(
        starts, tqdm(parts, "drawing", len(starts), unit="chunk", disable=None), strict=True
    ):
        drawn[start : start + len(images)] = images
        kinds += of_kind
        sentences += said
    tokens, ends, vocabulary = tokenise(sentences)
    shape = (pictures, captions)
    return PretrainingSet(
        drawn, np.array(kinds), tokens.reshape(*shape, -1), ends.reshape(shape), vocabulary
    )


def _draw_chunk(
    seed: int, start: int, count: int, captions: int, resolution: int
) -> tuple[np.ndarray, list[int], list[str]]:
    images, kinds, sentences = [], [], []
    for index in range(start, start + count):
        subject = picture(seed, index)
        small = subject.image.resize((resolution, resolution), Image.Resampling.BICUBIC)
        images.append(np.asarray(small))
        kinds.append(list(KINDS).index(subject.kind))
        sentences += write_captions(subject, seed, index, captions)
    return np.stack(images), kinds, sentences


def tokenise(sentences: list[str]) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Captions as indices of the sorted token ids that occur, (N, L); the positions of EOT; the ids."""
    from clip.simple_tokenizer import SimpleTokenizer

    tokenizer = SimpleTokenizer()
    first, last = (tokenizer.encoder[f"<|{side}oftext|>"] for side in ("start", "end"))
    known: dict[str, list[int]] = {}
    for sentence in sentences:
        if sentence not in known:
            known[sentence] = [first, *tokenizer.encode(sentence), last]
    vocabulary = sorted({token for tokens in known.values() for token in tokens})
    index = {token: position for position, token in enumerate(vocabulary)}
    rows = {sentence: [index[token] for token in tokens] for sentence, tokens in known.items()}
    longest = max(map(len, rows.values()))
    table = np.zeros((len(sentences), longest), np.int16)
    ends = np.empty(len(sentences), np.int16)
    for position, sentence in enumerate(sentences):
        row = rows[sentence]
        table[position, : len(row)], ends[position] = row, len(row) - 1
    return table, ends, vocabulary


def normalise_pictures(pictures: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """Bytes (B, R, R, 3) -> CLIP's input (B, 3, R, R)."""
    images = torch.from_numpy(pictures).to(device).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(values, device=device) for values in (CLIP_MEAN, CLIP_DEVIATION))
    return (images - mean[:, None, None]) / std[:, None, None]
