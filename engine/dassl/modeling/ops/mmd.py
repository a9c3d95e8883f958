"""Maximum mean discrepancy."""

from __future__ import annotations

import torch
from dassl.utils import check_availability
from torch import nn
from torch.nn import functional as F

from .distance import squared_distances

__all__ = ["MaximumMeanDiscrepancy"]

# widths of the Gaussians that are added up
_SIGMAS = (1, 5, 10)


class MaximumMeanDiscrepancy(nn.Module):
    """How far apart two samples are in the space of a kernel (Gretton et al. 2012).

    Args:
        kernel_type: linear, poly (degree 2, constant 2) or rbf (Gaussians of width 1, 5 and 10).
        normalize: compare directions, not lengths.

    Raises:
        ValueError: unknown kernel.
    """

    def __init__(self, kernel_type: str = "rbf", normalize: bool = False) -> None:
        super().__init__()
        check_availability(kernel_type, ("linear", "poly", "rbf"))
        self.kernel_type = kernel_type
        self.normalize = normalize

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """The squared discrepancy of samples (m, dim) and (n, dim); a sample is not compared with
        itself, so that it may be negative."""
        if self.normalize:
            x, y = F.normalize(x, dim=1), F.normalize(y, dim=1)
        within = sum(self._mean_of_others(self._kernel(each, each)) for each in (x, y))
        return within - 2 * self._kernel(x, y).mean()

    def _kernel(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if self.kernel_type == "linear":
            return x @ y.T
        if self.kernel_type == "poly":
            return (x @ y.T + 2).square()
        distances = squared_distances(x, y)
        return sum(torch.exp(-distances / (2 * sigma**2)) for sigma in _SIGMAS)

    @staticmethod
    def _mean_of_others(kernel: torch.Tensor) -> torch.Tensor:
        itself = torch.eye(len(kernel), dtype=torch.bool, device=kernel.device)
        return kernel[~itself].mean()
