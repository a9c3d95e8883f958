"""Models whose text or image encoder is not CLIP's, told by the names of their weights."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..errors import InputError

NOT_SOFTMAX = "its logits have a bias, from training with a sigmoid (SigLIP), not a softmax"
TIMM = "its image encoder is one of timm's"
POOLED_BY_ATTENTION = "its image encoder pools by attention"
LAYER_SCALE = "its blocks scale what they add (layer scale)"
OWN_CLS = "its text encoder ends in a token of its own (CoCa)"
CAPTIONS = "it writes captions (CoCa)"
OTHER_TEXT = (
    "its text encoder is one of transformers' (T5, XLM-RoBERTa and the like): not causal, and with "
    "tokens of its own"
)
BIASED = "its text features get a bias"

# names are OpenAI's, open_clip's or transformers', whatever the file
_BY_WEIGHT = (
    (r"logit_bias|vision_model\.head\..*", NOT_SOFTMAX),
    (r"visual\.trunk\..*", TIMM),
    (r"visual\.attn_pool.*", POOLED_BY_ATTENTION),
    (r".*\.ls_[12]\.gamma", LAYER_SCALE),
    (r"(text\.)?cls_emb", OWN_CLS),
    (r"text_decoder\..*", CAPTIONS),
    (r"text\.(transformer\.(?!resblocks\.)|proj\.).*", OTHER_TEXT),
    (r"(text\.)?text_projection\.bias", BIASED),
)
EXPECTED = (
    "Expected a CLIP whose image encoder is a vision transformer or CLIP's ResNet, and whose text "
    "encoder is causal and ends in the end of text"
)


def refuse(source: str, reason: str) -> InputError:
    """The error for a model that this project does not compute."""
    return InputError(f"{source} cannot be used: {reason}. {EXPECTED}")


def check_names(source: str, names: Iterable[str]) -> None:
    """Refuse a model by the names of its weights.

    Raises:
        InputError: says why.
    """
    for name in names:
        for pattern, reason in _BY_WEIGHT:
            if re.fullmatch(pattern, name):
                raise refuse(source, f"{reason}, as {name} shows")
