"""The datasets of the papers and people's own pictures; importing this registers all of them.

Every module in this folder that defines a dataset is found by being there, so that a dataset is
added or removed with its one file.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

from .draws import COOP

_COMMANDS = {"check", "download"}

for _module in pkgutil.iter_modules(__path__):
    if not _module.ispkg and _module.name not in _COMMANDS:
        importlib.import_module(f"{__name__}.{_module.name}")


def extend_cfg(cfg: Any) -> None:
    """Add the configuration keys of our datasets where they are lacking: DATASET.DRAW (how shots are
    drawn, "coop" by default), and of people's own pictures (see docs/own_pictures.md) DATASET.DIR,
    DATASET.CSV and DATASET.CLASSNAMES, all "" by default."""
    for key, default in {"DRAW": COOP, "DIR": "", "CSV": "", "CLASSNAMES": ""}.items():
        if key not in cfg.DATASET:
            cfg.DATASET[key] = default
