"""Networks that change images so that their domain shows less (Zhou et al., AAAI 2020)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from .build import NETWORK_REGISTRY

__all__ = [
    "ImageGenerator",
    "fcn_3x32_gctx",
    "fcn_3x32_gctx_stn",
    "fcn_3x64_gctx",
    "fcn_3x64_gctx_stn",
]

_BLOCKS = 3
# deviation of the normal distribution that the weights start from
_START = 0.02


def _convolution(
    inputs: int, outputs: int, norm: type[nn.Module], padding_mode: str, stride: int = 1
) -> list[nn.Module]:
    """A 3 x 3 convolution that keeps the size but for its stride, and its normalisation."""
    convolution = nn.Conv2d(
        inputs, outputs, 3, stride, padding=1, bias=False, padding_mode=padding_mode
    )
    return [convolution, norm(outputs)]


class _ResidualBlock(nn.Module):
    def __init__(self, channels: int, norm: type[nn.Module], padding_mode: str) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            *_convolution(channels, channels, norm, padding_mode),
            nn.ReLU(),
            *_convolution(channels, channels, norm, padding_mode),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv_block(x)


class _Localisation(nn.Module):
    """Images (batch, 3, size, size) to affine maps without translation (batch, 2, 3)."""

    def __init__(self, channels: int, image_size: int) -> None:
        super().__init__()
        layers = [*_convolution(3, channels, nn.BatchNorm2d, "zeros", stride=2), nn.ReLU()]
        for _ in range(_BLOCKS):
            layers += [_ResidualBlock(channels, nn.BatchNorm2d, "zeros"), nn.MaxPool2d(2)]
        self.backbone = nn.Sequential(*layers)
        side = image_size // 2 ** (_BLOCKS + 1)
        if side < 1:
            raise ValueError(
                f"image_size is {image_size}: the network halves it {_BLOCKS + 1} times, so that it "
                f"takes at least {2 ** (_BLOCKS + 1)}"
            )
        self.fc_loc = nn.Linear(channels * side**2, 4)

    def start_at_identity(self) -> None:
        nn.init.zeros_(self.fc_loc.weight)
        with torch.no_grad():
            self.fc_loc.bias.copy_(torch.eye(2).flatten())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        linear = self.fc_loc(self.backbone(x).flatten(1)).tanh().view(-1, 2, 2)
        return F.pad(linear, (0, 1))


class ImageGenerator(nn.Module):
    """A fully convolutional network whose output is added to the image.

    Args:
        channels: width of the hidden layers.
        image_size: side of the images, for a spatial transformer before it; none by default.

    Raises:
        ValueError: the images are too small for the spatial transformer.
    """

    def __init__(self, channels: int, image_size: int | None = None) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            *_convolution(3, channels, nn.InstanceNorm2d, "reflect"),
            nn.ReLU(),
            *(_ResidualBlock(channels, nn.InstanceNorm2d, "reflect") for _ in range(_BLOCKS)),
        )
        # of each place and of the mean over all places
        self.gctx_fusion = nn.Sequential(
            nn.Conv2d(2 * channels, channels, 1, bias=False), nn.InstanceNorm2d(channels), nn.ReLU()
        )
        self.regress = nn.Sequential(nn.Conv2d(channels, 3, 1), nn.Tanh())
        self.locnet = None if image_size is None else _Localisation(channels, image_size)
        self.apply(self._start)
        if self.locnet is not None:
            self.locnet.start_at_identity()

    @staticmethod
    def _start(layer: nn.Module) -> None:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.normal_(layer.weight, std=_START)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(
        self,
        x: torch.Tensor,
        lmda: float = 1.0,
        return_p: bool = False,
        return_stn_output: bool = False,
    ) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Changed images.

        Args:
            x: images (batch, 3, height, width).
            lmda: weight of the change.
            return_p: also give the change, in -1 to 1.
            return_stn_output: also give the change, and the images before it is added.
        """
        if self.locnet is not None:
            grid = F.affine_grid(self.locnet(x), x.size(), align_corners=False)
            x = F.grid_sample(x, grid, align_corners=False)
        features = self.backbone(x)
        mean = features.mean(dim=(2, 3), keepdim=True).expand_as(features)
        change = self.regress(self.gctx_fusion(torch.cat([features, mean], dim=1)))
        changed = x + lmda * change
        if return_stn_output:
            return changed, change, x
        return (changed, change) if return_p else changed


@NETWORK_REGISTRY.register()
def fcn_3x32_gctx(**kwargs: Any) -> ImageGenerator:
    """32 channels."""
    return ImageGenerator(32)


@NETWORK_REGISTRY.register()
def fcn_3x64_gctx(**kwargs: Any) -> ImageGenerator:
    """64 channels."""
    return ImageGenerator(64)


@NETWORK_REGISTRY.register()
def fcn_3x32_gctx_stn(image_size: int = 32, **kwargs: Any) -> ImageGenerator:
    """32 channels, after a spatial transformer."""
    return ImageGenerator(32, image_size)


@NETWORK_REGISTRY.register()
def fcn_3x64_gctx_stn(image_size: int = 224, **kwargs: Any) -> ImageGenerator:
    """64 channels, after a spatial transformer."""
    return ImageGenerator(64, image_size)
