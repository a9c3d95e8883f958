"""CLIPs that ship with the project."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from .weights import read_weights

BUILTIN: dict[str, Callable[[], dict[str, Tensor]]] = {"builtin-vit-small": read_weights}
"""Name of a built-in CLIP -> a function that returns its state dict in OpenAI layout, fp32."""
