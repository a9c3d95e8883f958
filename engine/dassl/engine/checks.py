"""Options whose values could only give a wrong result, or an error far from its cause."""

from __future__ import annotations

import os
from collections.abc import Iterable
from math import inf, isfinite
from typing import Any

from dassl.data.transforms import AVAI_CHOICES
from dassl.optim.lr_scheduler import AVAI_SCHEDS, AVAI_WARMUPS
from dassl.optim.optimizer import AVAI_OPTIMS
from dassl.utils import InputError, get_most_similar_str_to_a_from_b
from yacs.config import CfgNode

__all__ = ["check_options", "check_training"]

# The least and the largest value of an option, or of each of its values.
_RANGES = {
    "INPUT.SIZE": (1, inf),
    "INPUT.CROP_PADDING": (0, inf),
    "INPUT.RRCROP_SCALE": (1e-6, 1),
    "INPUT.CUTOUT_N": (0, inf),
    "INPUT.CUTOUT_LEN": (1, inf),
    "INPUT.GN_STD": (0, inf),
    "INPUT.RANDAUGMENT_N": (0, inf),
    "INPUT.RANDAUGMENT_M": (0, 30),
    "INPUT.COLORJITTER_B": (0, inf),
    "INPUT.COLORJITTER_C": (0, inf),
    "INPUT.COLORJITTER_S": (0, inf),
    "INPUT.COLORJITTER_H": (0, 0.5),
    "INPUT.RGS_P": (0, 1),
    "INPUT.GB_P": (0, 1),
    "INPUT.GB_K": (1, inf),
    "INPUT.PIXEL_MEAN": (-inf, inf),
    "INPUT.PIXEL_STD": (1e-6, inf),
    # -1: as many as the machine has processors.
    "DATALOADER.NUM_WORKERS": (-1, inf),
    "DATALOADER.K_TRANSFORMS": (1, inf),
    "DATALOADER.KEPT_PIXELS": (0, inf),
    "DATALOADER.TRAIN_X.BATCH_SIZE": (1, inf),
    "DATALOADER.TRAIN_U.BATCH_SIZE": (1, inf),
    "DATALOADER.TEST.BATCH_SIZE": (1, inf),
    "MODEL.HEAD.DROPOUT": (0, 1),
    "OPTIM.LR": (0, inf),
    "OPTIM.WEIGHT_DECAY": (0, inf),
    "OPTIM.MOMENTUM": (0, 1),
    "OPTIM.RMSPROP_ALPHA": (0, 1),
    "OPTIM.ADAM_BETA1": (0, 1 - 1e-9),
    "OPTIM.ADAM_BETA2": (0, 1 - 1e-9),
    "OPTIM.ADAM_EPS": (0, inf),
    "OPTIM.BASE_LR_MULT": (0, inf),
    "OPTIM.STEPSIZE": (-1, inf),
    "OPTIM.GAMMA": (0, inf),
    "OPTIM.WARMUP_CONS_LR": (0, inf),
    "OPTIM.WARMUP_MIN_LR": (0, inf),
    "TRAIN.PRINT_FREQ": (1, inf),
}

# How many values an option has.
_LENGTHS = {
    "INPUT.SIZE": 2,
    "INPUT.RRCROP_SCALE": 2,
    "INPUT.PIXEL_MEAN": 3,
    "INPUT.PIXEL_STD": 3,
}

# The names that an option may have, or each of its values.
_NAMES = {
    "INPUT.INTERPOLATION": ("bilinear", "bicubic", "nearest"),
    "INPUT.TRANSFORMS": AVAI_CHOICES,
    "OPTIM.NAME": AVAI_OPTIMS,
    "OPTIM.LR_SCHEDULER": AVAI_SCHEDS,
    "OPTIM.WARMUP_TYPE": AVAI_WARMUPS,
    "TRAIN.COUNT_ITER": ("train_x", "train_u", "smaller_one"),
    "TEST.SPLIT": ("test", "val"),
    "TEST.FINAL_MODEL": ("last_step", "best_val"),
}


def check_options(cfg: CfgNode) -> None:
    """Check the options that every trainer reads, before anything is built.

    Raises:
        InputError: one is out of its range, no known name, or names a file that is not there.
    """
    for key, count in _LENGTHS.items():
        value = _get(cfg, key)
        if len(value) != count:
            raise InputError(f"{key} is {_shown(value)}; expected {count} numbers.")
    for key, (low, high) in _RANGES.items():
        for value in _each(_get(cfg, key)):
            is_number = isinstance(value, (int, float)) and isfinite(value)
            if not is_number or not low <= value <= high:
                raise InputError(
                    f"{key} is {_shown(_get(cfg, key))}; expected {_range(low, high)}."
                )
    for key, names in _NAMES.items():
        for value in _each(_get(cfg, key)):
            if value not in names:
                nearest = get_most_similar_str_to_a_from_b(str(value), names)
                raise InputError(
                    f'{key} is "{value}" (do you mean "{nearest}"?); there are {", ".join(names)}.'
                )
    if cfg.INPUT.GB_K % 2 == 0:
        raise InputError(f"INPUT.GB_K is {cfg.INPUT.GB_K}; expected an odd number of pixels.")
    if isinstance(cfg.OPTIM.STEPSIZE, (list, tuple)) and not cfg.OPTIM.STEPSIZE:
        raise InputError("OPTIM.STEPSIZE is empty; expected epochs, or (-1,) for MAX_EPOCH.")
    weights = cfg.MODEL.INIT_WEIGHTS
    if weights and not os.path.isfile(weights):
        raise InputError(f'MODEL.INIT_WEIGHTS names "{weights}", but there is no such file.')


def check_training(cfg: CfgNode, max_epoch: int, has_validation: bool) -> None:
    """Check what only training needs, before its first step.

    Raises:
        InputError: there is no epoch to train, or the validation images are missing by which the
            best model is chosen or which are to be tested on.
    """
    if max_epoch < 1:
        raise InputError(
            f"OPTIM.MAX_EPOCH is {max_epoch}, so nothing would be trained; expected 1 or more, or "
            "--eval-only to test alone."
        )
    if has_validation or cfg.TEST.NO_TEST:
        return
    if cfg.TEST.FINAL_MODEL == "best_val":
        raise InputError(
            f"TEST.FINAL_MODEL is best_val, but {cfg.DATASET.NAME} has no validation images to "
            "choose by; set it to last_step, or give the data a val split."
        )
    check_split(cfg.TEST.SPLIT, has_validation, cfg.DATASET.NAME)


def check_split(split: str, has_validation: bool, dataset: str) -> None:
    """Check that a split can be tested on.

    Raises:
        InputError: it is no split, or ``val`` of a dataset without validation images.
    """
    if split not in _NAMES["TEST.SPLIT"]:
        raise InputError(f'There is no split "{split}" to test on; choose "test" or "val".')
    if split == "val" and not has_validation:
        raise InputError(
            f'The split "val" is to be tested, but {dataset} has no validation images; test on '
            '"test" (TEST.SPLIT).'
        )


def _get(cfg: CfgNode, key: str) -> Any:
    for name in key.split("."):
        cfg = cfg[name]
    return cfg


def _each(value: Any) -> Iterable[Any]:
    return value if isinstance(value, (list, tuple)) else (value,)


def _shown(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _range(low: float, high: float) -> str:
    if high == inf:
        return "finite numbers" if low == -inf else f"{low} or more"
    return f"{low} to {high}"
