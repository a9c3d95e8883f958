"""Figures of an evaluation: confusion, classes, mistakes, reliability, and curves of the training."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from dassl.utils import read_image
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image, ImageOps

from .calibration import Reliability
from .evaluation import Evaluation

STYLE = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#94a3b8",
    "axes.labelcolor": "#334155",
    "axes.titlesize": 10,
    "axes.titlecolor": "#0f172a",
    "xtick.color": "#64748b",
    "ytick.color": "#64748b",
    "grid.color": "#e2e8f0",
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text, in the page's own font
    "svg.hashsalt": "page",  # the same figures give the same file
    "text.parse_math": False,  # a class name may hold a $
}
"""For `matplotlib.rc_context`, around making a figure and saving it."""
TRAINED, UNTRAINED, WRONG = "#2563eb", "#94a3b8", "#dc2626"
SURER, LESS_SURE = "#fca5a5", "#bfdbfe"
COUNTED = 20
"""So many classes leave room for numbers in the confusion matrix."""
NAMED = 60
"""So many classes leave room for names."""
LONGEST_NAME = 24
COLUMNS = 6
THUMBNAIL = 144
"""Pixels on a side."""
_NOT_A_LOSS = {"epoch", "steps", "seconds", "learning_rate", "acc"}


def short(name: str) -> str:
    """A name as far as a figure has room, without what no font has a sign for."""
    shown = "".join(each if each.isprintable() else "\ufffd" for each in name)
    return shown if len(shown) <= LONGEST_NAME else f"{shown[: LONGEST_NAME - 1]}\u2026"


def confusion_matrix(found: Evaluation) -> Figure:
    """Shares of each true class (rows) by predicted class, with counts where there is room."""
    counts, count = found.confusion, len(found.names)
    side = min(12.0, max(3.2, 1.6 + 0.3 * count))
    figure = Figure(figsize=(side + 0.9, side), layout="constrained")
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    shown = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    if count <= COUNTED:
        for row, column in zip(*np.nonzero(counts), strict=True):
            colour = "white" if shares[row, column] > 0.55 else "#0f172a"
            number = str(counts[row, column])
            axes.text(column, row, number, ha="center", va="center", color=colour, fontsize=8)
    if count <= NAMED:
        names = list(map(short, found.names))
        axes.set_xticks(range(count), names, rotation=90)
        axes.set_yticks(range(count), names)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="predicted", ylabel="true")
    bar = figure.colorbar(shown, ax=axes, shrink=0.5, aspect=30, label="share of the true class")
    bar.outline.set_visible(False)
    return figure


def accuracy_by_class(found: Evaluation, before: Evaluation | None) -> Figure:
    """A bar a class, the best on top, with zero-shot CLIP as a dot; of many classes the worst."""
    present = np.flatnonzero(~np.isnan(found.by_class))
    order = present[np.argsort(found.by_class[present], kind="stable")][:NAMED]
    figure = Figure(figsize=(7.5, 1.1 + 0.22 * len(order)), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(order))
    axes.barh(places, found.by_class[order], 0.68, color=TRAINED, label="trained")
    if before:
        marker = {"color": "#0f172a", "marker": "o", "s": 22, "edgecolor": "white"}
        marker |= {"zorder": 3, "clip_on": False}
        axes.scatter(before.by_class[order], places, label="zero-shot CLIP", **marker)
    counts = found.confusion.sum(1)
    axes.set_yticks(places, [f"{short(found.names[each])}  ({counts[each]})" for each in order])
    axes.tick_params(axis="y", length=0, labelcolor="#0f172a")
    axes.spines["left"].set_visible(False)
    axes.set(xlim=(0, 101), ylim=(-0.6, len(order) - 0.4), xlabel="accuracy (%)")
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    figure.legend(loc="outside upper right", ncols=2)
    return figure


def contact_sheet(found: Evaluation, chosen: Sequence[int]) -> Figure:
    """Pictures, cut as the model sees them, with what they were taken for and what they are."""
    columns, rows = min(COLUMNS, len(chosen)), -(-len(chosen) // COLUMNS)
    figure = Figure(figsize=(1.75 * columns, 2.35 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for axes, index in zip(panels, chosen, strict=False):
        axes.imshow(_thumbnail(found.paths[index]))
        wrong, right = (
            short(found.names[int(each[index])]) for each in (found.predicted, found.labels)
        )
        below = {"transform": axes.transAxes, "va": "top", "fontsize": 9}
        said = f"{wrong} {found.confidence[index]:.2f}"
        axes.text(0, -0.04, said, color=WRONG, weight="bold", **below)
        axes.text(0, -0.18, right, color="#0f172a", **below)
    for axes in figure.axes:
        axes.set_axis_off()
    return figure


def _thumbnail(path: str) -> np.ndarray:
    size = (THUMBNAIL, THUMBNAIL)
    return np.asarray(ImageOps.fit(read_image(path), size, Image.Resampling.BICUBIC))


def reliability(diagrams: Mapping[str, Reliability]) -> Figure:
    """For each, accuracy by probability above, and the share of the pictures below."""
    figure = Figure(figsize=(3.3 * len(diagrams), 4), layout="constrained")
    panels = figure.subplots(
        2, len(diagrams), squeeze=False, sharex=True, height_ratios=(3, 1), sharey="row"
    )
    for (upper, lower), (title, each) in zip(panels.T, diagrams.items(), strict=True):
        _reliability(upper, lower, each)
        upper.set_title(f"{title}\nECE {100 * each.error:.1f}%")
    panels[0, 0].set(ylabel="accuracy")
    panels[1, 0].set(ylabel="pictures (%)")
    return figure


def _reliability(upper: Axes, lower: Axes, each: Reliability) -> None:
    bins = len(each.counts)
    middles, there = (np.arange(bins) + 0.5) / bins, each.counts > 0
    width = 0.92 / bins
    upper.plot((0, 1), (0, 1), color="#64748b", linewidth=0.8, linestyle=(0, (4, 3)), zorder=3)
    accuracy, confidence = each.accuracy[there], each.confidence[there]
    low = np.minimum(accuracy, confidence)
    upper.bar(middles[there], low, width, color=TRAINED)
    for gap, colour in ((confidence - accuracy, SURER), (accuracy - confidence, LESS_SURE)):
        upper.bar(middles[there], np.maximum(gap, 0), width, low, color=colour)
    upper.set(xlim=(0, 1), ylim=(0, 1))
    lower.bar(middles, 100 * each.counts / each.counts.sum(), width, color=UNTRAINED)
    lower.set(xlabel="probability of the answer", xticks=(0, 0.2, 0.4, 0.6, 0.8))


def training(epochs: Sequence[Mapping[str, Any]], tests: Sequence[Mapping[str, Any]]) -> Figure:
    """Loss and its parts by epoch, and the accuracies of tests in between."""
    figure = Figure(figsize=(4.6 * (2 if tests else 1), 3.2), layout="constrained")
    losses, *others = figure.subplots(1, 2 if tests else 1, squeeze=False).flat
    # values that are 0 throughout have no place on a logarithmic axis
    for name in dict.fromkeys(
        name for epoch in epochs for name in epoch if name not in _NOT_A_LOSS
    ):
        points = [(epoch["epoch"], epoch[name]) for epoch in epochs if epoch.get(name, 0) > 0]
        if points:
            losses.plot(*zip(*points, strict=True), label=name, marker="o", markersize=2.5)
    losses.set(ylabel="mean over the epoch", yscale="log")
    for axes in others:
        _tests(axes, tests)
    for axes in figure.axes:
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="y")
        axes.legend(fontsize=8)
    return figure


def _tests(axes: Axes, tests: Sequence[Mapping[str, Any]]) -> None:
    series: defaultdict[tuple[str, str], list[tuple[int, float]]] = defaultdict(list)
    for test in tests:
        series[test["classes"], test["prompts"]].append((test["epoch"], test["accuracy"]))
    colours: dict[str, str] = {}
    for (classes, prompts), points in series.items():
        colour = colours.setdefault(classes, f"C{len(colours)}")
        line = "-" if prompts == "current" else "--"
        axes.plot(*zip(*points, strict=True), line, color=colour, label=f"{classes}, {prompts}")
    axes.set(ylabel="test accuracy (%)")
