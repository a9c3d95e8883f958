"""Plots of results: new against base, differences, few-shot curves, training, averaging weights."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence

import matplotlib
from matplotlib.figure import Figure

from prompting.averaging import gaussian_weights

from ..published import methods, settings
from ..published.figures import published
from ..records import ADVICE, CURVES_FILE, RESULTS_FILE, RecordError, read_curves
from .results import ReportError, Result, training_folders
from .summary import AVERAGE, Statistic, label

matplotlib.rcParams.update({"font.size": 9, "axes.grid": True, "grid.alpha": 0.3})
_NOT_A_LOSS = {"epoch", "steps", "seconds", "learning_rate", "acc"}


def make_plots(
    protocol: str, statistics: Sequence[Statistic], results: Sequence[Result], baseline: str
) -> Iterator[tuple[str, Figure]]:
    """Name and figure of every plot that the results allow.

    Args:
        protocol: one of settings.PROTOCOLS.
        statistics: as `summarise` gives them.
        results: the results that they were made of.
        baseline: the label of the series that differences are taken from; "" for the first.

    Raises:
        ReportError: there is no such series.
    """
    series = list(dict.fromkeys(figure.series for figure in statistics))
    labels = [label(each) for each in series]
    if baseline and baseline not in labels:
        raise ReportError(f"there is no series {baseline!r} to compare with: {', '.join(labels)}")
    if protocol in settings.HALVES:
        yield "base-new", new_against_base(statistics)
    if len(series) > 1 and protocol != "few_shot":
        yield "differences", differences(statistics, baseline or labels[0])
    if protocol == "few_shot":
        yield "few-shot", few_shot_curves(statistics)
    if protocol == "ablation":  # compares methods; their curves are in base2new
        return
    yield from training_curves(results)
    if weights := averaging_weights(results):
        yield "averaging-weights", weights


def _axes(width: float = 6, height: float = 4):
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _count_epochs(axes) -> None:
    axes.set_xlabel("epoch")
    axes.xaxis.get_major_locator().set_params(integer=True)


def new_against_base(statistics: Sequence[Statistic]) -> Figure:
    """A point a dataset, and a large one for the average, in a colour a series."""
    figure, axes = _axes(5.5, 5)
    means = {(f.series, f.dataset, f.metric): f.mean for f in statistics}
    for number, series in enumerate(dict.fromkeys(f.series for f in statistics)):
        colour = f"C{number}"
        datasets = dict.fromkeys(f.dataset for f in statistics if f.series == series)
        for dataset in datasets:
            base, new = (means.get((series, dataset, metric)) for metric in ("base", "new"))
            if base is None or new is None:
                continue
            average = dataset == AVERAGE
            size, name = (90, label(series)) if average else (18, None)
            axes.scatter(base, new, s=size, color=colour, alpha=1 if average else 0.5, label=name)
    low, high = axes.get_xlim()
    axes.axline((low, low), slope=1, color="grey", linewidth=0.7, linestyle=":")
    axes.set(xlim=(low, high), xlabel="base classes, accuracy (%)", ylabel="new classes (%)")
    if axes.get_legend_handles_labels()[0]:
        axes.legend()
    return figure


def differences(statistics: Sequence[Statistic], baseline: str) -> Figure:
    """Bars of every dataset: a series minus the baseline, in harmonic mean or accuracy."""
    metrics = {f.metric for f in statistics}
    metric = "harmonic_mean" if "harmonic_mean" in metrics else "accuracy"
    means = {(label(f.series), f.dataset): f.mean for f in statistics if f.metric == metric}
    datasets = list(dict.fromkeys(dataset for _, dataset in means))
    others = [name for name in dict.fromkeys(name for name, _ in means) if name != baseline]
    figure, axes = _axes(max(6, 0.7 * len(datasets)), 4)
    width = 0.8 / len(others)
    for number, name in enumerate(others):
        points = [
            (place, means[name, dataset] - means[baseline, dataset])
            for place, dataset in enumerate(datasets)
            if means.get((name, dataset)) is not None and means.get((baseline, dataset)) is not None
        ]
        places = [place + (number - (len(others) - 1) / 2) * width for place, _ in points]
        axes.bar(places, [value for _, value in points], width, label=name)
    axes.axhline(0, color="black", linewidth=0.7)
    axes.set_xticks(range(len(datasets)), datasets, rotation=45, ha="right")
    axes.set_ylabel(f"{metric.replace('_', ' ')} (points)\nminus {baseline}")
    axes.legend()
    return figure


def few_shot_curves(statistics: Sequence[Statistic]) -> Figure:
    """Accuracy against shots, a panel a dataset; the paper's averages dashed."""
    datasets = list(dict.fromkeys(f.dataset for f in statistics))
    columns = min(4, len(datasets))
    rows = -(-len(datasets) // columns)
    figure = Figure(figsize=(3.2 * columns, 2.6 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for axes, dataset in zip(panels, datasets, strict=False):
        for number, series in enumerate(dict.fromkeys(f.series for f in statistics)):
            points = [
                (f.shots, f.mean, f.deviation or 0)
                for f in statistics
                if f.series == series and f.dataset == dataset and f.mean is not None
            ]
            if points:
                shots, means, spreads = zip(*points, strict=True)
                style = {"fmt": "o-", "markersize": 3, "capsize": 2, "color": f"C{number}"}
                axes.errorbar(shots, means, spreads, label=label(series), **style)
            papers = _published_curve(series) if dataset == AVERAGE else []
            if papers:
                axes.plot(*zip(*papers, strict=True), "--", color=f"C{number}", linewidth=0.8)
        axes.set(title=dataset, xlabel="shots", ylabel="accuracy (%)")
    for axes in list(figure.axes)[len(datasets) :]:
        axes.set_axis_off()
    figure.axes[0].legend(fontsize=7)
    return figure


def _published_curve(series: tuple[str, str]) -> list[tuple[int, float]]:
    method, variant = series
    return sorted(
        (key[3], figure.value)
        for key, figure in published().items()
        if key[0] == "few_shot" and key[1:3] == (method, AVERAGE) and not variant
    )


def training_curves(results: Sequence[Result]) -> Iterator[tuple[str, Figure]]:
    """For every series and number of shots, a row a dataset: loss and its parts, and accuracy where it
    was tested in between."""
    grouped: defaultdict[tuple, defaultdict[str, list[dict]]]
    grouped = defaultdict(lambda: defaultdict(list))
    for result in training_folders(list(results)):
        try:
            curves = read_curves(result.folder / CURVES_FILE)
        except RecordError as error:
            raise ReportError(str(error)) from error
        grouped[result.series, result.shots][result.dataset].append(curves)
    for (series, shots), datasets in grouped.items():
        tested = any(run["tests"] for runs in datasets.values() for run in runs)
        columns = 2 if tested else 1
        size = (4.5 * columns, 2.6 * len(datasets))
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(len(datasets), columns, squeeze=False)
        for row, (dataset, runs) in zip(panels, datasets.items(), strict=True):
            _plot_losses(row[0], runs)
            row[0].set_title(f"{dataset}, {len(runs)} seeds")
            if any(run["tests"] for run in runs):
                _plot_tests(row[1], runs)
            elif tested:
                row[1].set_axis_off()
        figure.suptitle(f"{label(series)}, {shots} shots: means over the seeds")
        name = f"training-{series[0]}-{series[1] or 'published'}-{shots}shots"
        yield name.replace(" ", ""), figure


def _plot_losses(axes, runs: Sequence[dict]) -> None:
    names = dict.fromkeys(n for run in runs for epoch in run["epochs"] for n in epoch)
    for name in names:
        if name not in _NOT_A_LOSS:
            by_epoch: defaultdict[int, list[float]] = defaultdict(list)
            for epoch in (epoch for run in runs for epoch in run["epochs"] if name in epoch):
                by_epoch[epoch["epoch"]].append(epoch[name])
            means = [statistics.fmean(values) for values in by_epoch.values()]
            axes.plot(list(by_epoch), means, label=name)
    axes.set(ylabel="mean of the epoch", yscale="log")
    _count_epochs(axes)
    axes.legend(fontsize=7)


def _plot_tests(axes, runs: Sequence[dict]) -> None:
    grouped: defaultdict[tuple[str, str], defaultdict[int, list[float]]]
    grouped = defaultdict(lambda: defaultdict(list))
    for test in (test for run in runs for test in run["tests"]):
        grouped[test["classes"], test["prompts"]][test["epoch"]].append(test["accuracy"])
    for (classes, prompts), by_epoch in grouped.items():
        means = [statistics.fmean(values) for values in by_epoch.values()]
        style = "--" if prompts == "average" else "-"
        colour = {"base": "C0", "new": "C1"}.get(classes, "C2")
        axes.plot(list(by_epoch), means, style, color=colour, label=f"{classes}, {prompts}")
    axes.set(ylabel="test accuracy (%)")
    _count_epochs(axes)
    axes.legend(fontsize=7)


def averaging_weights(results: Sequence[Result]) -> Figure | None:
    """The weight of every epoch in the prompts of methods that average them; None without such runs."""
    used = {}
    for result in results:
        averaging = methods.find(result.method).averaging
        if averaging:
            keys = ("OPTIM.MAX_EPOCH", averaging["mean"], averaging["deviation"])
            values = tuple(_value(result, key) for key in keys)
            name = "{} epochs, mean {:g}, deviation {:g}".format(*values)
            used.setdefault(values, name)
    if not used:
        return None
    figure, axes = _axes(6, 3)
    for (epochs, mean, deviation), name in used.items():
        weights = gaussian_weights(epochs, mean, deviation)
        axes.plot(range(1, epochs + 1), weights, "o-", markersize=3, label=name)
    axes.set(ylabel="weight of its prompts")
    _count_epochs(axes)
    axes.legend()
    return figure


def _value(result: Result, key: str) -> float:
    """The value of a key in the configuration of a result."""
    node = result.content["config"]
    for part in key.split("."):
        node = node.get(part) if isinstance(node, dict) else None
    if isinstance(node, bool) or not isinstance(node, (int, float)):
        raise ReportError(
            f"{result.folder / RESULTS_FILE} has {key} {node!r}: expected a number. {ADVICE}"
        )
    return node
