"""Small random models of open_clip and transformers, saved as their own libraries save them."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import prompting  # noqa: F401 (mends torchvision before the libraries import it)
from tests import tiny_clip

open_clip = pytest.importorskip("open_clip")
transformers = pytest.importorskip("transformers")

MEAN, DEVIATION = (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)

_VISION = {"image_size": 32, "layers": 3, "width": 128, "patch_size": 8}
_TEXT = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 3}
OPEN_CLIP: dict[str, dict[str, Any]] = {
    "GELU": {"embed_dim": 32, "vision_cfg": _VISION, "text_cfg": _TEXT},
    # as ViT-H and ViT-bigG have them, with what changes nothing in a frozen model
    "heads of 80": {
        "embed_dim": 48,
        "quick_gelu": True,
        "custom_text": True,
        "vision_cfg": {
            **_VISION,
            **{"width": 160, "head_width": 80, "mlp_ratio": 4.9231, "patch_dropout": 0.5},
            **{"final_ln_after_pool": True, "pos_embed_type": "sin_cos_2d"},
        },
        "text_cfg": {
            **_TEXT,
            "context_length": 24,
            "heads": 4,
            "pool_type": "eos",
            "eos_id": 49407,
        },
    },
    "ResNet": {
        "embed_dim": 32,
        "vision_cfg": {
            **{"image_size": 64, "layers": [1, 2, 1, 1], "width": 8, "patch_size": None},
            "head_width": 32,
        },
        "text_cfg": {**_TEXT, "context_length": 100},
    },
}
_BOTH = {"num_hidden_layers": 3, "hidden_act": "gelu", "projection_dim": 32}
TRANSFORMERS: dict[str, dict[str, Any]] = {
    "GELU": {
        "projection_dim": 32,
        "text_config": {
            **_BOTH,
            **{"hidden_size": 64, "intermediate_size": 200, "num_attention_heads": 2},
        },
        "vision_config": {
            **_BOTH,
            **{"hidden_size": 160, "intermediate_size": 320, "num_attention_heads": 2},
            **{"image_size": 32, "patch_size": 8},
        },
    },
    # an activation for each encoder, fewer tokens, and the end of text that earlier versions wrote
    "QuickGELU": {
        "projection_dim": 32,
        "text_config": {
            **_BOTH,
            **{"hidden_size": 64, "intermediate_size": 256, "num_attention_heads": 1},
            **{"hidden_act": "quick_gelu", "eos_token_id": 2, "max_position_embeddings": 24},
        },
        "vision_config": {
            **_BOTH,
            **{"hidden_size": 128, "intermediate_size": 512, "num_attention_heads": 2},
            **{"image_size": 48, "patch_size": 16},
        },
    },
}


def build_open_clip(kind: str = "GELU", config: Mapping[str, Any] | None = None) -> torch.nn.Module:
    """A model of the library, in evaluation mode."""
    config = copy.deepcopy(config or OPEN_CLIP[kind])
    made = open_clip.CustomTextCLIP if config.pop("custom_text", False) else open_clip.CLIP
    return tiny_clip.with_recipe(made(**config))


def write_open_clip(
    folder: Path, kind: str = "GELU", preprocessing: Mapping[str, Any] | None = None
) -> Path:
    """A folder as open_clip puts it on the hub."""
    folder.mkdir(parents=True, exist_ok=True)
    state = build_open_clip(kind).state_dict()
    save_file(state, folder / "open_clip_model.safetensors")
    preprocessing = preprocessing or {"mean": MEAN, "std": DEVIATION, "interpolation": "bicubic"}
    config = {"model_cfg": OPEN_CLIP[kind], "preprocess_cfg": preprocessing}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return folder


def build_transformers(kind: str = "GELU") -> torch.nn.Module:
    """A model of the library, in evaluation mode."""
    config = transformers.CLIPConfig(**copy.deepcopy(TRANSFORMERS[kind]))
    return tiny_clip.with_recipe(transformers.CLIPModel(config))


def write_transformers(folder: Path, kind: str = "GELU") -> Path:
    """A folder as `save_pretrained` makes it."""
    build_transformers(kind).save_pretrained(folder)
    size = TRANSFORMERS[kind]["vision_config"]["image_size"]
    processor = transformers.CLIPImageProcessor(
        size={"shortest_edge": size},
        crop_size={"height": size, "width": size},
        image_mean=list(MEAN),
        image_std=list(DEVIATION),
    )
    processor.save_pretrained(folder)
    return folder
