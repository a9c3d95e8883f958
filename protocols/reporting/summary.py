"""From results to what a table shows: means over seeds, spreads, averages, published figures."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ..published import methods, settings
from .against_papers import with_published
from .results import ReportError, Result
from .statistic import AVERAGE, Statistic, harmonic_mean


def order(names: Iterable[str], known: Sequence[str]) -> list[str]:
    """The known names in their order, then the others by name."""
    return sorted(set(names), key=lambda name: (*_position(name, known), name))


def _position(name: str, known: Sequence[str]) -> tuple[int]:
    return (known.index(name) if name in known else len(known),)


def order_datasets(names: Iterable[str]) -> list[str]:
    """As in the papers, then the built-in ones, then others."""
    builtin = (*settings.BUILTIN_DATASETS, *settings.BUILTIN_SHIFTED)
    return order(names, (*settings.DATASETS, *settings.SHIFTED, *builtin))


@dataclass(frozen=True)
class Selection:
    """What a report is to show; empty means everything that has results."""

    methods: Sequence[str] = ()
    datasets: Sequence[str] = ()
    config: str = ""
    seeds: Sequence[int] = settings.SEEDS
    partial: bool = False


def select(results: Sequence[Result], selection: Selection) -> list[Result]:
    """The results that a report is to show."""
    return [
        r
        for r in results
        if (not selection.methods or r.method in selection.methods)
        and (not selection.datasets or r.dataset in selection.datasets)
        and selection.config in ("", r.variant, r.config)
        and (methods.is_zero_shot(r.method) or r.seed in selection.seeds)
    ]


def summarise(
    protocol: str, results: Sequence[Result], selection: Selection | None = None
) -> list[Statistic]:
    """The figures of a protocol's table, by series, dataset and metric, averages after the rest.

    An average is over all datasets that any series has; where a series lacks one of them or one of
    its seeds, its average is refused (mean None) unless the selection is partial. The average of
    the harmonic mean is the harmonic mean of the averages, as in the papers.

    Raises:
        ReportError: there is nothing to show.
    """
    selection = selection or Selection()
    results = select(results, selection)
    if not results:
        raise ReportError(
            f"there are no finished runs of {protocol} that were asked for: check the output root, and "
            f"run them by `python -m protocols.run {protocol}`"
        )
    # the runs of zero-shot CLIP on whole datasets serve several tables, and add no rows to few_shot
    trained = [r for r in results if not methods.is_zero_shot(r.method)]
    rows = trained if protocol == "few_shot" and trained else results
    datasets = order_datasets(selection.datasets or {r.dataset for r in rows})
    statistics_: list[Statistic] = []
    names = order({r.series[0] for r in results}, (*methods.names(), *methods.ablation_rows()))
    for series in sorted({r.series for r in results}, key=lambda s: (names.index(s[0]), s[1])):
        of_series = [r for r in results if r.series == series]
        for shots in sorted({r.shots for r in of_series}):
            cells = [r for r in of_series if r.shots == shots]
            statistics_ += _of_series(protocol, series, shots, cells, datasets, selection)
    return statistics_


def _of_series(
    protocol: str,
    series: tuple[str, str],
    shots: int,
    results: Sequence[Result],
    datasets: Sequence[str],
    selection: Selection,
) -> list[Statistic]:
    seeds = (1,) if methods.is_zero_shot(series[0]) else tuple(selection.seeds)
    source = settings.source_of(series[1]) if protocol in settings.TRANSFERS else None
    figures: list[Statistic] = []
    for dataset in datasets:
        of_dataset = [r for r in results if r.dataset == dataset]
        for metric, values in _values(protocol, of_dataset).items():
            missing = tuple(str(seed) for seed in seeds if seed not in values)
            figure = Statistic(series, dataset, shots, metric, values, missing)
            mean = statistics.fmean(values.values()) if values else None
            figures.append(replace(figure, mean=mean, is_source=dataset == source))
    if protocol in settings.HALVES:
        figures = [_harmonic(figure, figures) for figure in figures]
    counted = [f for f in figures if not f.is_source]
    if counted:
        figures += _averages(counted, selection.partial)
    return with_published(protocol, figures, results)


def _values(protocol: str, results: Sequence[Result]) -> dict[str, dict[int, float]]:
    """Accuracy by metric and seed; harmonic means of the seeds that have both halves."""
    if protocol not in settings.HALVES:
        return {"accuracy": {r.seed: r.accuracy for r in results}}
    base, new = (
        {r.seed: r.accuracy for r in results if r.classes == half} for half in ("base", "new")
    )
    both = {seed: harmonic_mean(base[seed], new[seed]) for seed in base if seed in new}
    return {"base": base, "new": new, "harmonic_mean": both}


def _harmonic(figure: Statistic, figures: Sequence[Statistic]) -> Statistic:
    """A harmonic mean is that of the mean base and the mean new accuracy."""
    if figure.metric != "harmonic_mean" or figure.mean is None:
        return figure
    base, new = (
        next(f.mean for f in figures if f.dataset == figure.dataset and f.metric == metric)
        for metric in ("base", "new")
    )
    return replace(figure, mean=harmonic_mean(base, new))


def _averages(figures: Sequence[Statistic], partial: bool) -> list[Statistic]:
    series, shots = figures[0].series, figures[0].shots
    averages: dict[str, Statistic] = {}
    for metric in dict.fromkeys(f.metric for f in figures):
        of_metric = [f for f in figures if f.metric == metric]
        missing = tuple(f"{f.dataset} {seed}" for f in of_metric for seed in f.missing)
        present = [f for f in of_metric if f.mean is not None]
        seeds = set.intersection(*(set(f.values) for f in present)) if present else set()
        values = {seed: statistics.fmean(f.values[seed] for f in present) for seed in sorted(seeds)}
        mean = statistics.fmean(f.mean for f in present) if present else None
        if missing and not partial:
            mean = None
        averages[metric] = Statistic(series, AVERAGE, shots, metric, values, missing, mean)
    if "harmonic_mean" in averages:
        averages["harmonic_mean"] = _harmonic_average(averages)
    return list(averages.values())


def _harmonic_average(averages: dict[str, Statistic]) -> Statistic:
    base, new, old = (averages[metric] for metric in ("base", "new", "harmonic_mean"))
    complete = base.mean is not None and new.mean is not None
    return replace(
        old,
        values={
            seed: harmonic_mean(value, new.values[seed])
            for seed, value in base.values.items()
            if seed in new.values
        },
        mean=harmonic_mean(base.mean, new.mean) if complete else None,
    )
