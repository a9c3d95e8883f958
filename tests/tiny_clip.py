"""Tiny CLIPs with weights from a recipe, the same numbers on every machine.

The reference figures in tests/fixtures were measured on these weights.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from clip.model import CLIP
from torch import Tensor
from torch.nn import Module

from benchmarks.subject import VIT_B16

Model = TypeVar("Model", bound=Module)

TEXT = {
    "context_length": 77,
    "vocab_size": 49408,
    "transformer_width": 128,
    "transformer_heads": 2,
    "transformer_layers": 4,
}
SIZES = {
    "VIT": {
        "embed_dim": 64,
        "image_resolution": 32,
        "vision_layers": 4,
        "vision_width": 128,
        "vision_patch_size": 8,
        **TEXT,
    },
    "RESNET": {
        "embed_dim": 64,
        "image_resolution": 64,
        "vision_layers": (1, 1, 1, 1),
        "vision_width": 8,
        "vision_patch_size": None,
        **TEXT,
    },
    "VIT-B/16": VIT_B16,
}


def _draw(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    numbers = np.random.RandomState(zlib.crc32(f"{seed}/{name}".encode())).standard_normal(shape)
    if name == "logit_scale":
        return np.full(shape, np.log(30.0))
    if name == "token_embedding.weight":
        return 0.5 * numbers
    if name.endswith(("positional_embedding", "running_mean")):
        return 0.1 * numbers
    if name.endswith("running_var"):
        return 1 + 0.2 * np.abs(numbers)
    if numbers.ndim == 2:
        return numbers * 0.5 / np.sqrt(shape[-1])
    if numbers.ndim > 2:
        return numbers / np.sqrt(np.prod(shape[1:]))
    if name.endswith("weight"):
        return 1 + 0.1 * numbers
    return 0.05 * numbers


def build(kind: str = "VIT", seed: int = 7, sizes: Mapping[str, Any] | None = None) -> CLIP:
    """A CLIP of clip's own modules, in fp32 and evaluation mode, with the recipe's weights."""
    return with_recipe(CLIP(**(sizes or SIZES[kind])), seed)


def with_recipe(model: Model, seed: int = 7) -> Model:
    """A model of whatever library, frozen and in evaluation mode, with the recipe's weights."""
    weights = {
        name: torch.tensor(_draw(name, tuple(old.shape), seed), dtype=torch.float32)
        for name, old in model.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    model.load_state_dict(weights, strict=False)
    return model.eval().requires_grad_(False)


def write(
    folder: Path, kind: str = "VIT", seed: int = 7, sizes: Mapping[str, Any] | None = None
) -> Path:
    """Save the weights in OpenAI layout; the path serves as MODEL.BACKBONE.NAME."""
    path = Path(folder, f"{kind.replace('/', '-')}-{seed}.pt")
    if not path.exists():
        torch.save(build(kind, seed, sizes).state_dict(), path)
    return path


def images(pixels: np.ndarray) -> Tensor:
    """uint8 (..., 3, H, W) -> fp32 as CLIP's preprocessing normalises it."""
    mean = torch.tensor((0.48145466, 0.4578275, 0.40821073))[:, None, None]
    std = torch.tensor((0.26862954, 0.26130258, 0.27577711))[:, None, None]
    return (torch.as_tensor(pixels).float() / 255 - mean) / std
