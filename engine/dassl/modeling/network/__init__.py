"""Whole networks, by name."""

from .build import NETWORK_REGISTRY, build_network
from .ddaig_fcn import fcn_3x32_gctx, fcn_3x32_gctx_stn, fcn_3x64_gctx, fcn_3x64_gctx_stn

__all__ = [
    "NETWORK_REGISTRY",
    "build_network",
    "fcn_3x32_gctx",
    "fcn_3x32_gctx_stn",
    "fcn_3x64_gctx",
    "fcn_3x64_gctx_stn",
]
