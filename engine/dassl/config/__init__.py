"""The default configuration."""

from __future__ import annotations

from yacs.config import CfgNode

from .defaults import get_cfg_default

__all__ = ["clean_cfg", "get_cfg_default"]


def clean_cfg(cfg: CfgNode, trainer: str) -> None:
    """Drop the nodes of all trainers but ``trainer`` from ``cfg.TRAINER``, in place."""
    for key in list(cfg.TRAINER):
        if key not in ("NAME", trainer.upper()):
            del cfg.TRAINER[key]
