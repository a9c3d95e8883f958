"""CoOp: a learned context."""

from __future__ import annotations

from .path import PlainPath


class CoOp(PlainPath):
    """Every forward pass encodes all classes."""
