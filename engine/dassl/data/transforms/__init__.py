"""Image transforms, chosen by name in the configuration."""

from typing import Any

from .transforms import AVAI_CHOICES, build_transform

__all__ = ["AVAI_CHOICES", "INTERPOLATION_MODES", "build_transform"]


def __getattr__(name: str) -> Any:
    if name == "INTERPOLATION_MODES":
        from . import transforms

        return transforms.INTERPOLATION_MODES
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
