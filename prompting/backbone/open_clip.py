"""open_clip's models: its configurations, its names of weights, and its list of trained weights."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError

from torch import Tensor

from ..errors import InputError
from ..transformer import QUICK_GELU, BlockKind
from . import refusal
from .description import Description, ImageInput, Pretrained
from .files import Find, is_openai, read_weights

PREFIX = "open_clip:"
CONFIG = "open_clip_config.json"
WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
)
INTERPOLATIONS = ("bicubic", "bilinear", "nearest")
_END_OF_TEXT = 49407

_BLOCKS = {
    "ls_init_value": ((None,), refusal.LAYER_SCALE),
    "act_kwargs": ((None, {}), "its activation is approximated"),
    "norm_kwargs": ((None, {}, {"eps": 1e-5}), "its normalisation has another epsilon"),
    "block_type": ((None, "default"), "its blocks have normalisations of their own"),
    **dict.fromkeys(
        (
            *("qk_norm", "scaled_cosine_attn", "scale_heads"),
            *("scale_attn_inner", "scale_attn", "scale_fc"),
        ),
        ((False,), "its blocks scale or normalise inside"),
    ),
}
# the values at which a key changes nothing here, and what any other means
_IMAGE = {
    **_BLOCKS,
    "timm_model_name": ((None, ""), refusal.TIMM),
    "attentional_pool": ((False,), refusal.POOLED_BY_ATTENTION),
    "no_ln_pre": ((False,), "its image encoder does not normalise before the first block"),
    "pool_type": (("tok",), "its image encoder pools otherwise than by the class token"),
}
_TEXT = {
    **_BLOCKS,
    "hf_model_name": ((None, ""), refusal.OTHER_TEXT),
    "hf_tokenizer_name": ((None, ""), "its texts have other tokens than CLIP's"),
    "tokenizer_kwargs": ((None, {}), "its texts are cleaned otherwise than CLIP's"),
    "no_causal_mask": ((False,), "its text encoder is not causal"),
    "embed_cls": ((False,), refusal.OWN_CLS),
    "pool_type": (("argmax", "eos"), "its text encoder does not pool at the end of text"),
    "proj_type": (("linear",), "its text features are not projected"),
    "proj_bias": ((False,), refusal.BIASED),
}
_WHOLE = {
    "multimodal_cfg": ((None,), refusal.CAPTIONS),
    "init_logit_bias": ((None,), refusal.NOT_SOFTMAX),
}
# read below, seen in the weights, of training only, or the same for a class token pooled alone
_HARMLESS = {
    *("embed_dim", "vision_cfg", "text_cfg", "quick_gelu", "custom_text", "init_logit_scale"),
    *("nonscalar_logit_scale", "layers", "width", "head_width", "heads", "mlp_ratio", "patch_size"),
    *("image_size", "context_length", "vocab_size", "patch_dropout", "output_tokens", "pad_id"),
    *("final_ln_after_pool", "pos_embed_type", "attn_pooler_queries", "attn_pooler_heads"),
    *("timm_model_pretrained", "timm_pool", "timm_proj", "timm_proj_bias", "timm_drop"),
    *("timm_drop_path", "hf_model_pretrained", "hf_proj_type", "hf_pooler_type", "tokenizer_mode"),
    "eos_id",
}


def recognises(config: Mapping[str, Any]) -> bool:
    """Whether a file of that name holds what it should."""
    return isinstance(config.get("model_cfg"), dict)


def describe(source: str, config: Mapping[str, Any], find: Find | None = None) -> Description:
    """What open_clip's configuration of a model says.

    Args:
        source: for messages.
        config: {"model_cfg": ..., "preprocess_cfg": ...}.

    Raises:
        InputError: the model computes something else than a CLIP; says what.
    """
    model = config["model_cfg"]
    parts = {key: model.get(key) for key in ("vision_cfg", "text_cfg")}
    if not all(isinstance(part, dict) for part in parts.values()):
        raise InputError(
            f"{source} has a configuration without vision_cfg or text_cfg: copy it again"
        )
    image, text = parts.values()
    for part, known, where in (
        (model, _WHOLE, ""),
        (image, _IMAGE, "vision_cfg."),
        (text, _TEXT, "text_cfg."),
    ):
        _check(source, part, known, where)
    if text.get("pool_type") == "eos" and text.get("eos_id", 2) != _END_OF_TEXT:
        raise refusal.refuse(source, f"its texts end in token {text.get('eos_id', 2)}, not CLIP's")
    activation = QUICK_GELU if model.get("quick_gelu") else "gelu"
    resnet = isinstance(image.get("layers"), (list, tuple))
    width = image.get("width", 768) * (32 if resnet else 1)
    return Description(
        image=BlockKind(width // image.get("head_width", 64), activation=activation),
        text=BlockKind(text.get("heads", 8), activation=activation),
        images=_images(config.get("preprocess_cfg") or {}),
        stated=_stated(source, model),
        notes=_notes(source, config.get("preprocess_cfg") or {}),
    )


def _check(
    source: str, part: Mapping[str, Any], known: Mapping[str, tuple[tuple, str]], where: str
) -> None:
    for key, value in part.items():
        allowed, reason = known.get(key, ((None, False), "this project does not know that option"))
        if key not in _HARMLESS and value not in allowed:
            raise refusal.refuse(source, f"{reason} ({where}{key} is {value!r})")


def _stated(source: str, model: Mapping[str, Any]) -> dict[str, Any]:
    image, text = model["vision_cfg"], model["text_cfg"]
    size = image.get("image_size", 224)
    height, width = size if isinstance(size, (list, tuple)) else (size, size)
    if height != width:
        raise refusal.refuse(source, f"its pictures are {height} x {width}, not square")
    stated = {
        "embed_dim": model.get("embed_dim"),
        "context_length": text.get("context_length", 77),
        "vocabulary": text.get("vocab_size", 49408),
        "text_width": text.get("width", 512),
        "text_layers": text.get("layers", 12),
        "image_width": image.get("width", 768),
        "image_layers": image.get("layers", 12),
        "resolution": height,
    }
    return {
        key: list(value) if isinstance(value, tuple) else value for key, value in stated.items()
    }


def _images(preprocessing: Mapping[str, Any]) -> ImageInput:
    interpolation = preprocessing.get("interpolation")
    return ImageInput.read(
        preprocessing.get("mean"),
        preprocessing.get("std"),
        interpolation if interpolation in INTERPOLATIONS else None,
    )


def _notes(source: str, preprocessing: Mapping[str, Any]) -> tuple[str, ...]:
    mode = preprocessing.get("resize_mode", "shortest")
    if mode == "shortest":
        return ()
    return (
        f'{source} was trained on pictures resized in the mode "{mode}"; here the shorter side is '
        "resized and the centre cut out",
    )


def to_openai(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights under OpenAI's names: a text encoder that stands by itself loses its `text.`."""
    return {name.removeprefix("text."): value for name, value in state.items()}


def load(name: str) -> Pretrained:
    """A model by ARCHITECTURE/PRETRAINED_TAG, or by ARCHITECTURE/FILE of open_clip's training.

    The architecture's configuration and the list of tags are the installed library's, which downloads
    the weights and compares checksums where it has them; its model is not built.

    Raises:
        InputError: the library is not installed; no such architecture, tag or file; no download.
    """
    library = _library()
    architecture, _, rest = name.partition("/")
    model = library.get_model_config(architecture)
    if model is None:
        known = library.list_models()
        raise InputError(
            f"{PREFIX}{name}: open_clip has no architecture {architecture!r}"
            f"{_near(name.replace('/', '-'), known)}. Expected {PREFIX}ARCHITECTURE/TAG, such as "
            f"{PREFIX}ViT-B-16/laion2b_s34b_b88k"
        )
    source, tag = f"{PREFIX}{name}", library.get_pretrained_cfg(architecture, rest)
    if not tag and not Path(rest).is_file():
        tags = library.list_pretrained_tags_by_model(architecture)
        raise InputError(
            f"{source}: {rest!r} is neither a file nor one of open_clip's trained weights of "
            f"{architecture}{_near(rest, tags)}. There are: {', '.join(tags) or 'none'}"
        )
    # a tag says itself whether it was trained with QuickGELU, whatever the architecture's name
    quick = bool(model.get("quick_gelu") or tag.get("quick_gelu"))
    description = describe(
        source, {"model_cfg": {**model, "quick_gelu": quick}, "preprocess_cfg": tag}
    )
    path = _download(source, tag) if tag else Path(rest)
    return Pretrained(read_weights(path, trusted=is_openai(path)), description)


def _library():
    try:
        import open_clip
    except ImportError as error:
        raise InputError(
            f"{error.name} is not installed, which {PREFIX} names need: pip install -r "
            "requirements-open-clip.txt"
        ) from error
    return open_clip


def _near(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    return f" (did you mean {near[0]}?)" if near else ""


def _download(source: str, tag: Mapping[str, Any]) -> Path:
    try:
        return Path(_library().download_pretrained(tag))
    except (OSError, RuntimeError, URLError) as error:
        raise InputError(
            f"{source} cannot be downloaded: {str(error).splitlines()[0]}. Fetch the weights elsewhere "
            f"and name them {PREFIX}ARCHITECTURE/FILE"
        ) from error
