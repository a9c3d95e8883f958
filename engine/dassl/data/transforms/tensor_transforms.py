"""Transforms that torchvision does not have, of tensors (channels, height, width)."""

from __future__ import annotations

import torch

__all__ = ["Cutout", "GaussianNoise", "InstanceNormalization"]


class Cutout:
    """Set squares at random places to zero (DeVries and Taylor 2017).

    A square's centre lies anywhere in the image, so that parts of it may fall outside.

    Args:
        n_holes: number of squares.
        length: side of a square in pixels.
    """

    def __init__(self, n_holes: int = 1, length: int = 16) -> None:
        self.n_holes = n_holes
        self.length = length

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        height, width = image.shape[-2:]
        image = image.clone()
        for _ in range(self.n_holes):
            top = int(torch.randint(height, ())) - self.length // 2
            left = int(torch.randint(width, ())) - self.length // 2
            rows = slice(max(top, 0), max(top + self.length, 0))
            columns = slice(max(left, 0), max(left + self.length, 0))
            image[..., rows, columns] = 0
        return image


class GaussianNoise:
    """Add normally distributed noise.

    Args:
        mean: mean of the noise.
        std: its standard deviation.
        p: probability that an image gets noise.
    """

    def __init__(self, mean: float = 0.0, std: float = 0.15, p: float = 0.5) -> None:
        self.mean = mean
        self.std = std
        self.p = p

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        if torch.rand(()) >= self.p:
            return image
        return image + torch.randn_like(image) * self.std + self.mean


class InstanceNormalization:
    """Give each channel of an image mean 0 and standard deviation 1.

    Args:
        eps: added to the standard deviation.
    """

    def __init__(self, eps: float = 1e-8) -> None:
        self.eps = eps

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        mean = image.mean(dim=(-2, -1), keepdim=True)
        std = image.std(dim=(-2, -1), keepdim=True)
        return (image - mean) / (std + self.eps)
