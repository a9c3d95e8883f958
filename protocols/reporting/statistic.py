"""One figure of a table, and how tables and their rows are called."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from ..published import methods
from ..published.figures import Published
from .results import Result

AVERAGE = "average"
_TITLES = {
    "base2new": "Base-to-new generalization",
    "cross_dataset": "Cross-dataset transfer",
    "domain_generalization": "Domain generalization",
    "few_shot": "Few-shot classification",
}


def harmonic_mean(base: float, new: float) -> float:
    """2BN / (B + N); 0 where both are."""
    return 2 * base * new / (base + new) if base + new else 0.0


@dataclass(frozen=True)
class Statistic:
    """One figure of a table, in percent.

    Attributes:
        series: method and variant ("" for the published configuration).
        dataset: config name, or "average".
        shots: training images a class; 0 for zero-shot.
        metric: base, new, harmonic_mean or accuracy.
        values: by seed.
        missing: seeds (or, of an average, "dataset seed" pairs) without a result.
        mean: over the seeds; None where there is nothing, or an average is not complete.
        published: the paper's figure, where it has one.
        differs: what of our runs differs from the setting of that figure.
        is_source: the dataset was trained on, so that averages leave it out.
    """

    series: tuple[str, str]
    dataset: str
    shots: int
    metric: str
    values: dict[int, float]
    missing: tuple[str, ...] = ()
    mean: float | None = None
    published: Published | None = None
    differs: tuple[str, ...] = ()
    is_source: bool = False

    @property
    def deviation(self) -> float | None:
        """Standard deviation over the seeds (of the population, as the published code has it)."""
        return statistics.pstdev(self.values.values()) if self.values else None

    @property
    def interval(self) -> float | None:
        """Half of the 95% interval of the mean: 1.96 standard deviations / sqrt(seeds)."""
        return self.deviation and 1.96 * self.deviation / len(self.values) ** 0.5

    @property
    def difference(self) -> float | None:
        """Ours minus the published figure."""
        if self.mean is None or self.published is None:
            return None
        return self.mean - self.published.value


def label(series: tuple[str, str]) -> str:
    """How a series is called."""
    method, variant = series
    return f"{method} ({variant})" if variant else method


def labels(figures: Iterable[Statistic | Result]) -> dict[tuple[str, str], str]:
    """How every series is called beside the others: without its variant where all have the same."""
    series = list(dict.fromkeys(figure.series for figure in figures))
    same = len({variant for _, variant in series}) == 1
    return {each: each[0] if same else label(each) for each in series}


def title(protocol: str, statistics: Iterable[Statistic]) -> str:
    """What the table of a protocol is called; that of the ablation, by the methods that have one. A
    configuration that all series have, and that is not the published one, stands behind it."""
    ablations = (methods.find(name).ablation_title for name in methods.ablations())
    name = _TITLES.get(protocol) or "; ".join(ablations)
    variants = {figure.series[1] for figure in statistics}
    return f"{name} ({variants.pop()})" if len(variants) == 1 and all(variants) else name


def rows_of(statistics: Iterable[Statistic]) -> dict[tuple[str, int], list[Statistic]]:
    """The figures of each row: a dataset, in few-shot tables with a number of shots."""
    rows: dict[tuple[str, int], list[Statistic]] = {}
    for figure in statistics:
        rows.setdefault((figure.dataset, figure.shots), []).append(figure)
    return rows
