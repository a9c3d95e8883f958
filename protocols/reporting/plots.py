"""Plots of figures: new against base classes, differences, few-shot curves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ..published import methods, settings
from ..published.figures import published
from .blocks import METRICS
from .results import ReportError
from .statistic import AVERAGE, Statistic, label, labels
from .style import Plot, looks, single_axes
from .summary import order_datasets


def make_plots(protocol: str, statistics: Sequence[Statistic], baseline: str) -> Iterator[Plot]:
    """Every plot of figures that there can be.

    Args:
        protocol: one of settings.PROTOCOLS.
        statistics: as `summarise` gives them.
        baseline: the name of the series that differences are taken from; "" for the first.

    Raises:
        ReportError: there is no such series.
    """
    names = labels(statistics)
    first = next(iter(names))
    fitting = [each for each in names if baseline in (names[each], label(each))]
    if baseline and not fitting:
        known = ", ".join(names.values())
        raise ReportError(f"there is no series {baseline!r} to compare with: {known}")
    if protocol in settings.HALVES:
        yield from new_against_base(statistics)
    if len(names) > 1 and protocol != "few_shot":
        yield differences(statistics, fitting[0] if baseline else first)
    if protocol == "few_shot":
        yield few_shot_curves(statistics)


def new_against_base(statistics: Sequence[Statistic]) -> Iterator[Plot]:
    """The methods' averages, by name, and then a panel a dataset."""
    means = {(f.series, f.dataset, f.metric): f.mean for f in statistics}
    rows: dict[str, list[dict[str, Any]]] = {}
    for series, name in labels(statistics).items():
        for dataset in dict.fromkeys(f.dataset for f in statistics):
            base, new = (means.get((series, dataset, metric)) for metric in ("base", "new"))
            if base is not None and new is not None:
                row = {"dataset": dataset, "method": name, "base": base, "new": new}
                rows.setdefault(dataset, []).append({**row, "series": series})
    look = looks(f.series for f in statistics)
    if averages := rows.pop(AVERAGE, []):
        figure, axes = single_axes(8, 5.5)
        _plot_halves(axes, averages, look)
        axes.set(xlabel="base classes, accuracy (%)", ylabel="new classes, accuracy (%)")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", fontsize=8)
        yield Plot("base-new", "New against base classes, average", figure, _told(averages))
    if len(rows) < 2:
        return
    figure, panels = _panels(len(rows), 3.4, 3)
    for axes, dataset in zip(panels, order_datasets(rows), strict=False):
        _plot_halves(axes, rows[dataset], look, size=28)
        axes.set_title(dataset)
    figure.supxlabel("base classes, accuracy (%)")
    figure.supylabel("new classes, accuracy (%)")
    every = {
        text: handle
        for axes in figure.axes
        for handle, text in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    order = [name for name in labels(statistics).values() if name in every]
    handles = [every[name] for name in order]
    figure.legend(handles, order, loc="outside right upper", fontsize=8)
    numbers = [row for dataset in order_datasets(rows) for row in _told(rows[dataset])]
    yield Plot("base-new-datasets", "New against base classes, every dataset", figure, numbers)


def _plot_halves(axes, rows: Sequence[dict], look: dict, size: int = 70) -> None:
    for row in rows:
        axes.scatter(row["base"], row["new"], s=size, label=row["method"], **look[row["series"]])
        if methods.is_zero_shot(row["series"][0]):
            axes.axvline(row["base"], color="grey", linewidth=0.7, linestyle=":")
            axes.axhline(row["new"], color="grey", linewidth=0.7, linestyle=":")


def _told(rows: Sequence[dict]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "series"} for row in rows]


def _panels(count: int, width: float, height: float) -> tuple[Figure, list]:
    """Panels in rows of at most four; those that stay empty have no axes."""
    columns = min(4 if count > 6 else 3, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(width * columns + 1.5, height * rows), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in panels[count:]:
        axes.remove()
    return figure, panels[:count]


def differences(statistics: Sequence[Statistic], baseline: tuple[str, str]) -> Plot:
    """A panel a metric: a row a method, a column a dataset, the points above or below the baseline."""
    names = labels(statistics)
    means = {(f.series, f.dataset, f.metric): f.mean for f in statistics}
    metrics = list(dict.fromkeys(f.metric for f in statistics))
    present = {f.dataset for f in statistics}
    datasets = [*order_datasets(present - {AVERAGE}), *sorted(present & {AVERAGE})]
    others = [each for each in names if each != baseline]
    size = (2.2 + len(metrics) * max(3, 0.8 * len(datasets)), 1.8 + 0.3 * len(others))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(1, len(metrics), squeeze=False, sharey=True)[0]
    values = {
        metric: np.array(
            [
                [
                    _minus(
                        means.get((each, dataset, metric)), means.get((baseline, dataset, metric))
                    )
                    for dataset in datasets
                ]
                for each in others
            ]
        )
        for metric in metrics
    }
    limit = max(1.0, np.nanmax(np.abs(np.stack(list(values.values()))), initial=0))
    numbers = []
    for axes, metric in zip(panels, metrics, strict=True):
        axes.imshow(values[metric], cmap="RdYlGn", vmin=-limit, vmax=limit, aspect="auto")
        for (row, column), value in np.ndenumerate(values[metric]):
            if not np.isnan(value):
                colour = "white" if abs(value) > 0.7 * limit else "black"
                place = {"ha": "center", "va": "center", "fontsize": 7.5, "color": colour}
                axes.text(column, row, f"{value:+.1f}", **place)
                told = {"method": names[others[row]], "dataset": datasets[column]}
                numbers.append({**told, "metric": metric, "difference": float(value)})
        axes.set_xticks(range(len(datasets)), datasets, rotation=45, ha="right")
        axes.set_yticks(range(len(others)), [names[each] for each in others])
        axes.set_title(METRICS[metric])
        axes.grid(False)
    return Plot("differences", f"Points above {names[baseline]}", figure, numbers)


def _minus(value: float | None, other: float | None) -> float:
    return np.nan if value is None or other is None else value - other


def few_shot_curves(statistics: Sequence[Statistic]) -> Plot:
    """Accuracy against shots, a panel a dataset; the paper's averages dashed."""
    present = {f.dataset for f in statistics}
    datasets = [*order_datasets(present - {AVERAGE}), *sorted(present & {AVERAGE})]
    figure, panels = _panels(len(datasets), 3.2, 2.6)
    look, numbers = looks(f.series for f in statistics), []
    for axes, dataset in zip(panels, datasets, strict=True):
        for series, name in labels(statistics).items():
            points = [
                (f.shots, f.mean, f.deviation or 0)
                for f in statistics
                if f.series == series and f.dataset == dataset and f.mean is not None
            ]
            if points:
                style = {**look[series], "markersize": 4, "capsize": 2}
                axes.errorbar(*zip(*points, strict=True), label=name, **style)
            papers = _published_curve(series) if dataset == AVERAGE else []
            if papers:
                colour = look[series]["color"]
                axes.plot(*zip(*papers, strict=True), "--", color=colour, linewidth=0.8)
            told = {"dataset": dataset, "method": name}
            numbers += [
                {
                    **told,
                    "shots": shots,
                    "mean": mean,
                    "standard_deviation": deviation,
                    "from": "here",
                }
                for shots, mean, deviation in points
            ]
            numbers += [
                {**told, "shots": shots, "mean": mean, "standard_deviation": None, "from": "paper"}
                for shots, mean in papers
            ]
        axes.set(title=dataset, xlabel="shots", ylabel="accuracy (%)")
    figure.axes[0].legend(fontsize=7)
    return Plot("few-shot", "Accuracy against shots; papers' averages dashed", figure, numbers)


def _published_curve(series: tuple[str, str]) -> list[tuple[int, float]]:
    method, variant = series
    return sorted(
        (key[3], figure.value)
        for key, figure in published().items()
        if key[0] == "few_shot" and key[1:3] == (method, AVERAGE) and not variant
    )
