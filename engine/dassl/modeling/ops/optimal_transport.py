"""Distances between samples by optimal transport."""

from __future__ import annotations

import torch
from dassl.utils import check_availability
from torch import nn
from torch.nn import functional as F

from .distance import squared_distances

__all__ = ["MinibatchEnergyDistance", "SinkhornDivergence"]

# keeps the logarithm of a mass from minus infinity
_TINY = 1e-8


class SinkhornDivergence(nn.Module):
    """2 W(x, y) - W(x, x) - W(y, y), with W the entropic transport cost (Cuturi 2013).

    Args:
        dist_metric: cosine, euclidean (squared) or fast_euclidean (the same by differences).
        eps: weight of the entropy.
        max_iter: most iterations.
        bp_to_sinkhorn: let gradients flow through the plan too, not through the distances alone.

    Raises:
        ValueError: unknown metric.
    """

    # the iteration ends when the potentials change by less, in sum
    thre = 1e-3

    def __init__(
        self,
        dist_metric: str = "cosine",
        eps: float = 0.01,
        max_iter: int = 5,
        bp_to_sinkhorn: bool = False,
    ) -> None:
        super().__init__()
        check_availability(dist_metric, ("cosine", "euclidean", "fast_euclidean"))
        self.dist_metric = dist_metric
        self.eps = eps
        self.max_iter = max_iter
        self.bp_to_sinkhorn = bp_to_sinkhorn

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """The divergence of samples (m, dim) and (n, dim)."""
        cost = self.transport_cost
        return 2 * cost(x, y) - cost(x, x) - cost(y, y)

    def transport_cost(
        self, x: torch.Tensor, y: torch.Tensor, return_pi: bool = False
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """The cost of moving ``x`` (m, dim) to ``y`` (n, dim), with ``return_pi`` also the plan
        (m, n)."""
        distances = self._distances(x, y)
        plan = self._plan(distances)
        if not self.bp_to_sinkhorn:
            plan = plan.detach()
        cost = (plan * distances).sum()
        return (cost, plan) if return_pi else cost

    def _distances(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if self.dist_metric == "cosine":
            return 1 - F.normalize(x, dim=1) @ F.normalize(y, dim=1).T
        if self.dist_metric == "euclidean":
            return squared_distances(x, y)
        return (x[:, None] - y[None]).square().sum(-1)

    def _plan(self, distances: torch.Tensor) -> torch.Tensor:
        rows, columns = distances.shape
        # every point has the same mass; iterated in logarithms, for small eps
        row_mass = torch.log(distances.new_full((rows,), 1 / rows) + _TINY)
        column_mass = torch.log(distances.new_full((columns,), 1 / columns) + _TINY)
        u, v = distances.new_zeros(rows), distances.new_zeros(columns)

        def exponent() -> torch.Tensor:
            return (u[:, None] + v - distances) / self.eps

        for _ in range(self.max_iter):
            before = u
            u = u + self.eps * (row_mass - exponent().logsumexp(1))
            v = v + self.eps * (column_mass - exponent().logsumexp(0))
            if (u - before).abs().sum() < self.thre:
                break
        return exponent().exp()


class MinibatchEnergyDistance(SinkhornDivergence):
    """The costs between the halves of two samples less those within each (Salimans et al. 2018)."""

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """The distance of samples (m, dim) and (n, dim), m and n even."""
        (x1, x2), (y1, y2) = x.chunk(2), y.chunk(2)
        cost = self.transport_cost
        between = cost(x1, y1) + cost(x1, y2) + cost(x2, y1) + cost(x2, y2)
        return between - 2 * cost(x1, x2) - 2 * cost(y1, y2)
