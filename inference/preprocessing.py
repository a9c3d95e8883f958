"""What becomes of a picture before the image encoder sees it: the transforms of the run's own tests."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dassl.config import get_cfg_default
from dassl.data.transforms import build_transform
from PIL import Image
from torch import Tensor
from yacs.config import CfgNode

from prompting.backbone import CLIP, CLIP_DEVIATION, CLIP_MEAN
from prompting.errors import InputError


@dataclass(frozen=True)
class Preprocessing:
    """The test transform of a configuration, and its words.

    transform: an RGB picture -> (3, resolution, resolution), fp32. steps: the same in plain values, for
    those who have to do it without this code.
    """

    transform: Callable[[Image.Image], Tensor]
    resolution: int
    steps: dict[str, Any]

    @classmethod
    def of_config(cls, cfg: CfgNode) -> Preprocessing:
        """What a run of this configuration tests with.

        Raises:
            InputError: it transforms nothing.
        """
        with contextlib.redirect_stdout(io.StringIO()):
            transform = build_transform(cfg, is_train=False)
        if transform is None:
            raise InputError(
                "the run was made with INPUT.NO_TRANSFORM, so that nobody can say what its pictures "
                "were: train it without"
            )
        options, (height, width) = cfg.INPUT, cfg.INPUT.SIZE
        steps: dict[str, Any] = {
            "colours": "RGB",
            "resize_shorter_side_to": max(height, width),
            "interpolation": options.INTERPOLATION,
            "centre_crop": [height, width],
            "divide_by": 255,
        }
        if "normalize" in options.TRANSFORMS:
            steps |= {"mean": list(options.PIXEL_MEAN), "deviation": list(options.PIXEL_STD)}
        if "instance_norm" in options.TRANSFORMS:
            steps["then"] = "each picture's own mean and deviation"
        return cls(transform, max(height, width), steps)

    @classmethod
    def of_clip(cls, clip: CLIP) -> Preprocessing:
        """A model's own, and that of OpenAI's CLIPs where it does not say."""
        cfg, images = get_cfg_default(), clip.images
        cfg.INPUT.SIZE = (clip.resolution, clip.resolution)
        cfg.INPUT.INTERPOLATION = images.interpolation or "bicubic"
        cfg.INPUT.TRANSFORMS = ["normalize"]
        cfg.INPUT.PIXEL_MEAN = list(images.mean or CLIP_MEAN)
        cfg.INPUT.PIXEL_STD = list(images.deviation or CLIP_DEVIATION)
        return cls.of_config(cfg)
