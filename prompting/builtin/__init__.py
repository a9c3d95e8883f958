"""CLIPs that come with the project, by name: each entry gives a state dict in OpenAI layout."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

BUILTIN: dict[str, Callable[[], dict[str, Tensor]]] = {}
