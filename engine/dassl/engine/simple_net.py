"""The network that a trainer has where it builds none of its own."""

from __future__ import annotations

from typing import Any

import torch
from dassl.modeling import build_backbone, build_head
from torch import nn
from yacs.config import CfgNode

__all__ = ["SimpleNet"]


class SimpleNet(nn.Module):
    """Backbone, an optional head, and a linear classifier.

    Args:
        cfg: the configuration.
        model_cfg: the ``MODEL`` node to build from.
        num_classes: classes; 0 for no classifier.
        kwargs: passed to the backbone.
    """

    def __init__(self, cfg: CfgNode, model_cfg: CfgNode, num_classes: int, **kwargs: Any) -> None:
        super().__init__()
        self.backbone = self._build_backbone(model_cfg.BACKBONE, cfg.VERBOSE, kwargs)
        widths = [self.backbone.out_features]
        self.head = self._build_head(model_cfg.HEAD, cfg.VERBOSE, widths[0])
        if self.head is not None:
            widths.append(self.head.out_features)
        self._fdim = widths[-1]
        self.classifier = nn.Linear(self._fdim, num_classes) if num_classes > 0 else None

    @staticmethod
    def _build_backbone(node: CfgNode, verbose: bool, options: dict[str, Any]) -> nn.Module:
        return build_backbone(node.NAME, verbose=verbose, pretrained=node.PRETRAINED, **options)

    @staticmethod
    def _build_head(node: CfgNode, verbose: bool, width: int) -> nn.Module | None:
        if not (node.NAME and node.HIDDEN_LAYERS):
            return None
        options = {
            "hidden_layers": node.HIDDEN_LAYERS,
            "activation": node.ACTIVATION,
            "bn": node.BN,
            "dropout": node.DROPOUT,
        }
        return build_head(node.NAME, verbose=verbose, in_features=width, **options)

    @property
    def fdim(self) -> int:
        """Width of the features that the classifier sees."""
        return self._fdim

    def forward(
        self, x: torch.Tensor, return_feature: bool = False
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Scores (batch, classes), with ``return_feature`` also the features (batch, fdim)."""
        features = self.backbone(x)
        if self.head is not None:
            features = self.head(features)
        if self.classifier is None:
            return features
        scores = self.classifier(features)
        return (scores, features) if return_feature else scores
