"""Accuracy against cost: which methods no other beats in both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.ticker import LogLocator, NullFormatter

from ..published import methods
from .costs import Cost
from .style import Plot, looks, single_axes


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
        axes.annotate(method, (x, y), (5, 4), textcoords="offset points", fontsize=7.5)
    along = zip(*(points[each] for each in best), strict=True)
    axes.plot(*along, drawstyle="steps-post", color="grey", linewidth=1)
    for method in accuracies:
        if methods.is_zero_shot(method):
            axes.axhline(accuracies[method], color="black", linestyle=":", linewidth=0.8)
            axes.text(
                0.01, accuracies[method], method, transform=axes.get_yaxis_transform(), fontsize=7.5
            )
    axes.set(xlabel=cost.title, ylabel="H (%)")
    if max(cost.values.values()) > 5 * min(cost.values.values()):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:,.6g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.15)
    numbers = [
        {"method": method, "cost": x, "H": y, "on_the_front": method in best}
        for method, (x, y) in points.items()
    ]
    return Plot(f"methods-{cost.name}", f"H against {cost.title}", figure, numbers)
