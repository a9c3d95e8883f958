"""What pictures become before the image encoder sees them: as the configuration says, and the model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dassl.config import get_cfg_default
from yacs.config import CfgNode

from prompting.backbone import CLIP, CLIP_DEVIATION, CLIP_MEAN
from prompting.errors import InputError

# as in the published configurations
_OF_CLIP = {
    "SIZE": (224, 224),
    "PIXEL_MEAN": CLIP_MEAN,
    "PIXEL_STD": CLIP_DEVIATION,
    "INTERPOLATION": "bicubic",
}


def own_input(clip: CLIP) -> dict[str, Any]:
    """The keys of INPUT of which a model says what it needs, and what that is."""
    images = clip.images
    said = {
        "SIZE": (clip.resolution, clip.resolution),
        "PIXEL_MEAN": images.mean,
        "PIXEL_STD": images.deviation,
        "INTERPOLATION": images.interpolation,
    }
    return {key: value for key, value in said.items() if value is not None}


def fitted(cfg: CfgNode, clip: CLIP) -> CfgNode:
    """The configuration with the model's own input, where CLIP's or Dassl's default was left.

    Raises:
        InputError: something else was chosen than the model needs.
    """
    differing = list(differences(cfg, clip))
    if not differing:
        return cfg
    defaults, own = get_cfg_default().INPUT, cfg.clone()
    own.defrost()
    for key, value in differing:
        given = cfg.INPUT[key]
        if not any(_same(given, default) for default in (_OF_CLIP[key], defaults[key])):
            needed = "images of {} x {}".format(*value) if key == "SIZE" else value
            raise InputError(
                f"INPUT.{key} is {given}, but {cfg.MODEL.BACKBONE.NAME} takes {needed}: leave "
                f'INPUT.{key} out, or set it to "{value}"'
            )
        print(f"INPUT.{key} {value}, as the backbone says")
        own.INPUT[key] = type(given)(value)
    own.freeze()
    return own


def differences(cfg: CfgNode, clip: CLIP) -> Iterator[tuple[str, Any]]:
    """The keys of INPUT that are not as a model needs them, and what it needs."""
    for key, value in own_input(clip).items():
        if not _same(cfg.INPUT[key], value):
            yield key, value


def _same(one: Any, other: Any) -> bool:
    return one == other if isinstance(one, str) else tuple(one) == tuple(other)
