"""What every backbone is."""

from __future__ import annotations

from torch import nn

__all__ = ["Backbone"]


class Backbone(nn.Module):
    """A feature extractor; subclasses set its width, ``out_features``, as ``_out_features``."""

    @property
    def out_features(self) -> int | None:
        """Width of the features."""
        return self.__dict__.get("_out_features")
