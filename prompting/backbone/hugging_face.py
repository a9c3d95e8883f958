"""transformers' CLIP: its configuration, its names of weights, and the hub that serves both."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..transformer import ACTIVATIONS, BlockKind
from . import refusal
from .description import Description, ImageInput
from .files import Find, read_json

CONFIG = "config.json"
WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
# what tells its names from OpenAI's
MARK = "text_model.embeddings.token_embedding.weight"
_PREPROCESSING = "preprocessor_config.json"
_PROCESSING = "processor_config.json"  # of later versions, with the same inside
_END_OF_TEXT = (49407, 2)  # the second is what earlier versions wrote, for the largest token
_INTERPOLATION = {0: "nearest", 2: "bilinear", 3: "bicubic"}  # Pillow's numbers

_NOT_CLIP = {
    "siglip": refusal.NOT_SOFTMAX,
    "siglip2": refusal.NOT_SOFTMAX,
    "altclip": refusal.OTHER_TEXT,
    "chinese_clip": refusal.OTHER_TEXT,
    "metaclip_2": "its texts have other tokens than CLIP's",
    "clip_text_model": "it is a text encoder alone",
    "clip_vision_model": "it is an image encoder alone",
}
_TEXT = {
    **{"hidden_size": 512, "num_hidden_layers": 12, "num_attention_heads": 8},
    **{"max_position_embeddings": 77, "vocab_size": 49408, "eos_token_id": 49407},
}
_IMAGE = {
    **{"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12},
    **{"image_size": 224, "patch_size": 32, "num_channels": 3},
}
_BOTH = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}

_RENAMED = (
    (r"text_model\.embeddings\.token_embedding\.", "token_embedding."),
    (r"text_model\.embeddings\.position_embedding\.weight", "positional_embedding"),
    (r"text_model\.final_layer_norm\.", "ln_final."),
    (r"text_model\.encoder\.layers\.", "transformer.resblocks."),
    (r"vision_model\.embeddings\.class_embedding", "visual.class_embedding"),
    (r"vision_model\.embeddings\.patch_embedding\.", "visual.conv1."),
    (r"vision_model\.embeddings\.position_embedding\.weight", "visual.positional_embedding"),
    (r"vision_model\.pre_layrnorm\.", "visual.ln_pre."),
    (r"vision_model\.post_layernorm\.", "visual.ln_post."),
    (r"vision_model\.encoder\.layers\.", "visual.transformer.resblocks."),
    (r"\.layer_norm([12])\.", r".ln_\1."),
    (r"\.mlp\.fc1\.", ".mlp.c_fc."),
    (r"\.mlp\.fc2\.", ".mlp.c_proj."),
    (r"\.self_attn\.", ".attn."),
)
_PROJECTIONS = {
    "text_projection.weight": "text_projection",
    "visual_projection.weight": "visual.proj",
}


def recognises(config: Mapping[str, Any]) -> bool:
    """Whether a file of that name is transformers', of whatever model; timm's has the same name."""
    return "model_type" in config


def describe(source: str, config: Mapping[str, Any], find: Find) -> Description:
    """What transformers' configuration of a model says.

    Args:
        source: for messages.
        config: that of the model.
        find: where that of its pictures may lie.

    Raises:
        InputError: the model computes something else than a CLIP; says what.
    """
    kind = config["model_type"]
    if kind != "clip":
        reason = _NOT_CLIP.get(kind, "it is no CLIP")
        raise refusal.refuse(source, f"{reason} (model_type is {kind!r})")
    text = _part(source, config, "text_config", _BOTH | _TEXT)
    image = _part(source, config, "vision_config", _BOTH | _IMAGE)
    if text["eos_token_id"] not in _END_OF_TEXT:
        raise refusal.refuse(source, f"its texts end in token {text['eos_token_id']}, not CLIP's")
    if image["num_channels"] != 3:
        raise refusal.refuse(source, f"its pictures have {image['num_channels']} channels, not 3")
    return Description(
        image=BlockKind(image["num_attention_heads"], activation=image["hidden_act"]),
        text=BlockKind(text["num_attention_heads"], activation=text["hidden_act"]),
        images=_images(find),
        stated={
            "context_length": text["max_position_embeddings"],
            "vocabulary": text["vocab_size"],
            "text_width": text["hidden_size"],
            "text_layers": text["num_hidden_layers"],
            "image_width": image["hidden_size"],
            "image_layers": image["num_hidden_layers"],
            "patch": image["patch_size"],
            "resolution": image["image_size"],
        },
    )


def _part(
    source: str, config: Mapping[str, Any], key: str, defaults: Mapping[str, Any]
) -> dict[str, Any]:
    """One encoder's configuration; the older `..._dict` has the last word, as in transformers."""
    part = dict(defaults)
    for given in (config.get(key), config.get(f"{key}_dict")):
        part |= {name: value for name, value in (given or {}).items() if name in defaults}
    if part["hidden_act"] not in ACTIVATIONS:
        raise refusal.refuse(
            source,
            f"its activation is {part['hidden_act']!r}, not {' or '.join(ACTIVATIONS)} ({key})",
        )
    if part["layer_norm_eps"] != 1e-5:
        raise refusal.refuse(source, f"its normalisation has another epsilon ({key})")
    return part


def _images(find: Find) -> ImageInput:
    if path := find(_PREPROCESSING):
        config = read_json(path)
    elif path := find(_PROCESSING):
        config = read_json(path).get("image_processor") or {}
    else:
        return ImageInput()
    interpolation = _INTERPOLATION.get(config.get("resample"))
    if not config.get("do_normalize", True):
        return ImageInput((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), interpolation)
    return ImageInput.read(config.get("image_mean"), config.get("image_std"), interpolation)


def to_openai(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights under OpenAI's names: queries, keys and values as one, projections turned.

    Raises:
        KeyError: one of them is missing.
    """
    renamed = {}
    for name, value in state.items():
        if name in _PROJECTIONS:
            renamed[_PROJECTIONS[name]] = value.t().contiguous()
            continue
        for pattern, replacement in _RENAMED:
            name = re.sub(pattern, replacement, name)
        renamed[name] = value
    for name in [name for name in renamed if ".attn.q_proj." in name]:
        thirds = [renamed.pop(name.replace("q_proj", f"{each}_proj")) for each in "qkv"]
        renamed[name.replace("q_proj.", "in_proj_")] = torch.cat(thirds)
    return renamed
