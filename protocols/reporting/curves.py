"""Plots of training runs: losses and tests over the epochs, and the weights of averaging."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from prompting.averaging import gaussian_weights

from ..published import methods
from ..records import ADVICE, RESULTS_FILE
from .results import ReportError, Result, curves_of
from .statistic import label
from .style import Plot, single_axes

_NOT_A_LOSS = {"epoch", "steps", "seconds", "learning_rate", "acc"}
_CLASSES = {"base": "C0", "new": "C1"}


def training_plots(results: Sequence[Result]) -> Iterator[Plot]:
    """For every series and number of shots, a row a dataset: loss and its parts, and accuracy where it
    was tested in between; and the weights of averaging."""
    grouped: defaultdict[tuple, defaultdict[str, list[dict]]]
    grouped = defaultdict(lambda: defaultdict(list))
    for result in results:
        if curves := curves_of(result):
            grouped[result.series, result.shots][result.dataset].append(curves)
    for (series, shots), datasets in grouped.items():
        numbers = [
            {"dataset": dataset, **row}
            for dataset, runs in datasets.items()
            for row in (*_losses(runs), *_tests(runs))
        ]
        columns = 2 if any("accuracy" in row["value"] for row in numbers) else 1
        size = (4.5 * columns, 2.6 * len(datasets))
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(len(datasets), columns, squeeze=False)
        for row, (dataset, runs) in zip(panels, datasets.items(), strict=True):
            _plot_losses(row[0], _losses(runs))
            row[0].set_title(f"{dataset}, {len(runs)} seeds")
            if tests := list(_tests(runs)):
                _plot_tests(row[1], tests)
            elif columns == 2:
                row[1].set_axis_off()
        name = f"training-{series[0]}-{series[1] or 'published'}-{shots}shots".replace(" ", "")
        title = f"{label(series)}, {shots} shots: means over the seeds"
        yield Plot(name, title, figure, numbers)
    if weights := averaging_weights(results):
        yield weights


def _losses(runs: Iterable[Mapping]) -> Iterator[dict[str, Any]]:
    """The mean over runs of everything that an epoch has of losses."""
    found: defaultdict[tuple[str, int], list[float]] = defaultdict(list)
    for epoch in (epoch for run in runs for epoch in run["epochs"]):
        for name in epoch.keys() - _NOT_A_LOSS:
            found[name, epoch["epoch"]].append(epoch[name])
    for (name, epoch), values in sorted(found.items()):
        yield {"value": name, "epoch": epoch, "mean": statistics.fmean(values)}


def _tests(runs: Iterable[Mapping]) -> Iterator[dict[str, Any]]:
    """The mean accuracy over runs of every kind of test in between."""
    found: defaultdict[tuple[str, str, int], list[float]] = defaultdict(list)
    for test in (test for run in runs for test in run["tests"]):
        found[test["classes"], test["prompts"], test["epoch"]].append(test["accuracy"])
    for (classes, prompts, epoch), values in sorted(found.items()):
        name = f"accuracy, {classes}, {prompts}"
        yield {"value": name, "epoch": epoch, "mean": statistics.fmean(values)}


def _lines(rows: Iterable[Mapping[str, Any]]) -> dict[str, tuple[list[int], list[float]]]:
    lines: dict[str, tuple[list[int], list[float]]] = {}
    for row in rows:
        epochs, means = lines.setdefault(row["value"], ([], []))
        epochs.append(row["epoch"])
        means.append(row["mean"])
    return lines


def _plot_losses(axes, rows: Iterable[Mapping[str, Any]]) -> None:
    for name, (epochs, means) in _lines(rows).items():
        axes.plot(epochs, means, label=name)
    axes.set(ylabel="mean of the epoch", yscale="log")
    _count_epochs(axes)
    axes.legend(fontsize=7)


def _plot_tests(axes, rows: Iterable[Mapping[str, Any]]) -> None:
    for name, (epochs, means) in _lines(rows).items():
        _, classes, prompts = name.split(", ")
        style = "--" if prompts == "average" else "-"
        colour = _CLASSES.get(classes, "C2")
        axes.plot(epochs, means, style, color=colour, label=f"{classes}, {prompts}")
    axes.set(ylabel="test accuracy (%)")
    _count_epochs(axes)
    axes.legend(fontsize=7)


def _count_epochs(axes) -> None:
    axes.set_xlabel("epoch")
    axes.xaxis.get_major_locator().set_params(integer=True)


def averaging_weights(results: Sequence[Result]) -> Plot | None:
    """The weight of every epoch in the prompts of methods that average them; None without such runs."""
    used = {}
    for result in results:
        averaging = methods.find(result.method).averaging
        if averaging and result.content:
            keys = ("OPTIM.MAX_EPOCH", averaging["mean"], averaging["deviation"])
            values = tuple(_value(result, key) for key in keys)
            used.setdefault(values, "{} epochs, mean {:g}, deviation {:g}".format(*values))
    if not used:
        return None
    figure, axes = single_axes(6, 3)
    numbers = []
    for (epochs, mean, deviation), name in used.items():
        weights = [float(weight) for weight in gaussian_weights(epochs, mean, deviation)]
        axes.plot(range(1, epochs + 1), weights, "o-", markersize=3, label=name)
        numbers += [
            {"averaging": name, "epoch": epoch, "weight": weight}
            for epoch, weight in enumerate(weights, start=1)
        ]
    axes.set(ylabel="weight of its prompts")
    _count_epochs(axes)
    axes.legend()
    return Plot("averaging-weights", "The weight of each epoch's prompts", figure, numbers)


def _value(result: Result, key: str) -> float:
    """The value of a key in the configuration of a result."""
    value = result.value(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ReportError(
            f"{result.folder / RESULTS_FILE} has {key} {value!r:.60}: expected a number. {ADVICE}"
        )
    return value
