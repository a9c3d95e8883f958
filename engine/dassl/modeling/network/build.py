"""Building a network from its name."""

from __future__ import annotations

from typing import Any

from dassl.utils import Registry, check_availability
from torch import nn

__all__ = ["NETWORK_REGISTRY", "build_network"]

NETWORK_REGISTRY = Registry("NETWORK")


def build_network(name: str, verbose: bool = True, **kwargs: Any) -> nn.Module:
    """The network registered as ``name``; ``kwargs`` go to it.

    Raises:
        InputError: no network of that name is registered.
    """
    check_availability(name, NETWORK_REGISTRY.registered_names())
    if verbose:
        print(f"Network: {name}")
    return NETWORK_REGISTRY.get(name)(**kwargs)
