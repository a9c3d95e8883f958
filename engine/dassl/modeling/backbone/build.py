"""Building a backbone from its name."""

from __future__ import annotations

from typing import Any

from dassl.utils import Registry, check_availability
from torch import nn

__all__ = ["BACKBONE_REGISTRY", "build_backbone"]

BACKBONE_REGISTRY = Registry("BACKBONE")


def build_backbone(name: str, verbose: bool = True, **kwargs: Any) -> nn.Module:
    """The backbone registered as ``name``; ``kwargs`` go to it.

    Raises:
        InputError: no backbone of that name is registered.
    """
    check_availability(name, BACKBONE_REGISTRY.registered_names())
    if verbose:
        print(f"Backbone: {name}")
    return BACKBONE_REGISTRY.get(name)(**kwargs)
