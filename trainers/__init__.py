"""Prompt-learning trainers for Dassl. Importing this package registers all of them."""

from . import coop, cocoop, ivlp, promptsrc, zsclip  # noqa: F401, I001
from .config import extend_cfg

__all__ = ["extend_cfg"]
