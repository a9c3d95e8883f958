"""Batch normalisation with statistics for each domain."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["DSBN1d", "DSBN2d"]


class _DomainSpecificBatchNorm(nn.Module):
    """One batch normalisation for each domain, of which one is in use (Chang et al. 2019).

    Args:
        num_features: features or channels.
        n_domain: domains.
    """

    norm: type[nn.Module]

    def __init__(self, num_features: int, n_domain: int) -> None:
        super().__init__()
        self.bn = nn.ModuleList(self.norm(num_features) for _ in range(n_domain))
        self.n_domain = n_domain
        self.domain_idx = 0

    def select_bn(self, domain_idx: int = 0) -> None:
        """Use that domain's from now on.

        Raises:
            ValueError: there is no such domain.
        """
        if not 0 <= domain_idx < self.n_domain:
            raise ValueError(
                f"There is no domain {domain_idx}: expected 0 to {self.n_domain - 1}, as many as "
                f"{type(self).__name__} was made for"
            )
        self.domain_idx = domain_idx

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalised ``x``, of the same shape."""
        return self.bn[self.domain_idx](x)


class DSBN1d(_DomainSpecificBatchNorm):
    """For features (batch, num_features)."""

    norm = nn.BatchNorm1d


class DSBN2d(_DomainSpecificBatchNorm):
    """For feature maps (batch, num_features, height, width)."""

    norm = nn.BatchNorm2d
