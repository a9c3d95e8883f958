"""Building a trainer from its configured name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dassl.utils import Registry, check_availability
from yacs.config import CfgNode

if TYPE_CHECKING:
    from .trainer import TrainerBase

__all__ = ["TRAINER_REGISTRY", "build_trainer"]

TRAINER_REGISTRY = Registry("TRAINER")


def build_trainer(cfg: CfgNode) -> TrainerBase:
    """The trainer ``cfg.TRAINER.NAME``.

    Raises:
        InputError: no trainer of that name is registered.
    """
    check_availability(cfg.TRAINER.NAME, TRAINER_REGISTRY.registered_names())
    if cfg.VERBOSE:
        print(f"Loading trainer: {cfg.TRAINER.NAME}")
    return TRAINER_REGISTRY.get(cfg.TRAINER.NAME)(cfg)
