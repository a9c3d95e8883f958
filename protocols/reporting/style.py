"""What all plots share: their form, and the colour and sign of every method."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..published import methods

matplotlib.rcParams.update({"font.size": 9, "axes.grid": True, "grid.alpha": 0.3})
_COLOURS = 10  # of matplotlib's cycle
_MARKERS = "osD^vPX"


@dataclass(frozen=True)
class Plot:
    """A plot with the numbers that it shows, a row a point, for the CSV beside it."""

    name: str
    title: str
    figure: Figure
    numbers: Sequence[Mapping[str, Any]]


def single_axes(width: float = 6, height: float = 4) -> tuple[Figure, Axes]:
    """A figure of one panel."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def looks(series: Iterable[tuple[str, str]]) -> dict[tuple[str, str], dict[str, Any]]:
    """Colour and marker of every series: a black star for zero-shot CLIP, else as many of both as it
    takes to tell them apart."""
    found, count = {}, 0
    for each in dict.fromkeys(series):
        if methods.is_zero_shot(each[0]):
            found[each] = {"color": "black", "marker": "*"}
            continue
        marker = _MARKERS[(count // _COLOURS + count) % len(_MARKERS)]
        found[each] = {"color": f"C{count % _COLOURS}", "marker": marker}
        count += 1
    return found
