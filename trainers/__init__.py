"""Prompt-learning trainers for Dassl. Importing this package registers all of them.

A method is found by its file being here, so that one is added or removed with that file.
"""

import importlib
import pkgutil

from .config import extend_cfg

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["extend_cfg"]
