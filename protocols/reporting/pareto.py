"""Accuracy against cost: which methods no other beats in both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.ticker import LogLocator, NullFormatter

from ..published import methods
from .costs import Cost
from .style import Plot, looks, single_axes

# of a name in points, below or above its point; and what it takes of the page, about as many pixels
_OFFSETS = (4, -9, 14, -19)
_ROOM = (75, 9)


def front(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """The methods, by (cost, accuracy), that none beats in one without losing in the other; by cost."""
    kept: list[str] = []
    for name in sorted(points, key=lambda each: (points[each][0], -points[each][1])):
        if not kept or points[name][1] > points[kept[-1]][1]:
            kept.append(name)
    return kept


def accuracy_against_cost(
    cost: Cost, accuracies: Mapping[str, float], transductive: Sequence[str]
) -> Plot:
    """A point a method, a line through the front, and a level of what costs nothing.

    Args:
        cost: the horizontal axis, logarithmic where values lie far apart.
        accuracies: harmonic means by method, of zero-shot CLIP too.
        transductive: methods that are shown and never on the front.
    """
    figure, axes = single_axes(6.2, 4)
    look = looks((method, "") for method in accuracies)
    points = {
        method: (cost.values[method], accuracy)
        for method, accuracy in accuracies.items()
        if cost.values.get(method)
    }
    best = front({method: at for method, at in points.items() if method not in transductive})
    for method, (x, y) in points.items():
        style = look[method, ""]
        if method in transductive:
            style = {**style, "facecolors": "none", "edgecolors": style["color"]}
            del style["color"]
        axes.scatter(x, y, s=60, zorder=3, **style)
    along = zip(*(points[each] for each in best), strict=True)
    axes.plot(*along, drawstyle="steps-post", color="grey", linewidth=1)
    for method in accuracies:
        if methods.is_zero_shot(method):
            axes.axhline(accuracies[method], color="black", linestyle=":", linewidth=0.8)
            axes.text(
                0.01, accuracies[method], method, transform=axes.get_yaxis_transform(), fontsize=7.5
            )
    axes.set(xlabel=cost.title, ylabel="H (%)")
    spread = max(cost.values.values()) / min(cost.values.values())
    if spread > 5:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if spread < 500 else (1,)))
    axes.xaxis.set_major_formatter("{x:,.10g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.15)
    _name(axes, points)
    numbers = [
        {"method": method, "cost": x, "H": y, "on_the_front": method in best}
        for method, (x, y) in points.items()
    ]
    return Plot(f"methods-{cost.name}", f"H against {cost.title}", figure, numbers)


def _name(axes, points: Mapping[str, tuple[float, float]]) -> None:
    """The name of each point beside it, where no other name stands."""
    axes.autoscale_view()
    taken: list[tuple[float, float]] = []
    for name, point in sorted(points.items(), key=lambda each: each[1]):
        x, y = axes.transData.transform(point)
        free = (
            offset
            for offset in _OFFSETS
            if all(abs(x - a) > _ROOM[0] or abs(y + offset - b) > _ROOM[1] for a, b in taken)
        )
        offset = next(free, _OFFSETS[0])
        taken.append((x, y + offset))
        axes.annotate(name, point, (6, offset), textcoords="offset points", fontsize=7.5)
