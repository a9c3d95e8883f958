"""torchvision's ResNets without their classifier."""

from __future__ import annotations

from typing import Any

import torch

from .backbone import Backbone
from .build import BACKBONE_REGISTRY

__all__ = ["ResNet", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]


class ResNet(Backbone):
    """A ResNet up to its average pooling (He et al. 2016).

    Args:
        name: torchvision's name of the model.
        pretrained: load the weights trained on ImageNet, downloaded on first use.
    """

    def __init__(self, name: str, pretrained: bool) -> None:
        super().__init__()
        from torchvision.models import get_model

        network = get_model(name, weights="IMAGENET1K_V1" if pretrained else None)
        self._out_features = network.fc.in_features
        for child_name, child in network.named_children():
            if child_name != "fc":
                self.add_module(child_name, child)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, 3, height, width) to (batch, out_features)."""
        for layer in self.children():
            x = layer(x)
        return x.flatten(1)


@BACKBONE_REGISTRY.register()
def resnet18(pretrained: bool = True, **kwargs: Any) -> ResNet:
    """ResNet-18, 512 features."""
    return ResNet("resnet18", pretrained)


@BACKBONE_REGISTRY.register()
def resnet34(pretrained: bool = True, **kwargs: Any) -> ResNet:
    """ResNet-34, 512 features."""
    return ResNet("resnet34", pretrained)


@BACKBONE_REGISTRY.register()
def resnet50(pretrained: bool = True, **kwargs: Any) -> ResNet:
    """ResNet-50, 2048 features."""
    return ResNet("resnet50", pretrained)


@BACKBONE_REGISTRY.register()
def resnet101(pretrained: bool = True, **kwargs: Any) -> ResNet:
    """ResNet-101, 2048 features."""
    return ResNet("resnet101", pretrained)


@BACKBONE_REGISTRY.register()
def resnet152(pretrained: bool = True, **kwargs: Any) -> ResNet:
    """ResNet-152, 2048 features."""
    return ResNet("resnet152", pretrained)
