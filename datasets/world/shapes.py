"""The things of the world as polygons in the square from -1 to 1, y pointing down.

A thing is a tuple of parts that are painted in order; a part is its outline and whether it adds to
the silhouette or cuts a hole into it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

TURN = 2 * math.pi


class Part(NamedTuple):
    """An outline, (N, 2) points, and whether it is filled or a hole."""

    outline: np.ndarray
    filled: bool = True


def polygon(*coordinates: float) -> Part:
    """The part with the corners x0, y0, x1, y1, ..."""
    return Part(np.array(coordinates, float).reshape(-1, 2))


def box(left: float, top: float, right: float, bottom: float) -> Part:
    """An upright rectangle."""
    return polygon(left, top, right, top, right, bottom, left, bottom)


def ellipse(
    x: float,
    y: float,
    across: float,
    down: float | None = None,
    begin: float = 0,
    end: float = TURN,
) -> Part:
    """An ellipse by its half axes, or the segment of one between two angles."""
    angle = np.linspace(begin, end, 24)
    down = across if down is None else down
    return Part(np.stack([x + across * np.cos(angle), y + down * np.sin(angle)], axis=1))


def dome(x: float, y: float, across: float, down: float) -> Part:
    """The upper half of an ellipse."""
    return ellipse(x, y, across, down, TURN / 2, TURN)


def star(points: int, outer: float = 1, inner: float = 0.42) -> Part:
    """A star with a point at the top."""
    angle = TURN * np.arange(2 * points) / (2 * points) - TURN / 4
    radius = np.where(np.arange(2 * points) % 2 == 0, outer, inner)
    return Part(np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1))


def bar(x0: float, y0: float, x1: float, y1: float, width: float = 0.2) -> Part:
    """A straight bar from one point to another."""
    start, end = np.array([x0, y0]), np.array([x1, y1])
    along = (end - start) / np.hypot(*(end - start))
    aside = np.array([-along[1], along[0]]) * width / 2
    return Part(np.array([start + aside, end + aside, end - aside, start - aside]))


def hole(part: Part) -> Part:
    """The part as a hole."""
    return part._replace(filled=False)


def arch(
    x: float,
    y: float,
    outer: tuple[float, float],
    inner: tuple[float, float],
    begin: float,
    end: float,
) -> Part:
    """A bent band between two elliptic arcs."""
    far = ellipse(x, y, *outer, begin, end).outline
    near = ellipse(x, y, *inner, begin, end).outline
    return Part(np.concatenate([far, near[::-1]]))


def around(count: int, part: Part, phase: float = 0) -> tuple[Part, ...]:
    """Copies of a part turned about the centre."""
    turned = []
    for angle in phase + TURN * np.arange(count) / count:
        c, s = math.cos(angle), math.sin(angle)
        turned.append(Part(part.outline @ np.array([[c, s], [-s, c]]), part.filled))
    return tuple(turned)


def mirrored(part: Part) -> tuple[Part, Part]:
    """A part and its mirror image, left and right."""
    return part, Part(part.outline * [-1, 1], part.filled)


def _heart() -> Part:
    t = np.linspace(0, TURN, 30)
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return Part(np.stack([16 * np.sin(t) ** 3, -y], axis=1) / 17)


def _spiral() -> Part:
    t = np.linspace(0.3, 2.5 * TURN, 60)
    direction = np.stack([np.cos(t), np.sin(t)], axis=1)
    radius = (t / t[-1])[:, None]
    inner = np.maximum(radius - 0.16, 0)
    return Part(np.concatenate([direction * radius, (direction * inner)[::-1]]))


def _drop() -> Part:
    belly = ellipse(0, 0.35, 0.62, 0.62, -0.3, math.pi + 0.3).outline
    return Part(np.concatenate([belly, [[0, -1]]]))


THINGS: dict[str, tuple[Part, ...]] = {
    "circle": (ellipse(0, 0, 0.95),),
    "square": (box(-0.85, -0.85, 0.85, 0.85),),
    "triangle": (polygon(0, -0.95, 0.98, 0.8, -0.98, 0.8),),
    "star": (star(5),),
    "heart": (_heart(),),
    "cross": (box(-0.3, -0.95, 0.3, 0.95), box(-0.95, -0.3, 0.95, 0.3)),
    "diamond": (polygon(0, -1, 0.68, 0, 0, 1, -0.68, 0),),
    "ring": (ellipse(0, 0, 0.95), hole(ellipse(0, 0, 0.55))),
    "moon": (ellipse(0, 0, 0.95), hole(ellipse(0.42, -0.1, 0.75))),
    "arrow": (
        polygon(-1, -0.25, 0.15, -0.25, 0.15, -0.7, 1, 0, 0.15, 0.7, 0.15, 0.25, -1, 0.25),
    ),
    "drop": (_drop(),),
    "fish": (
        ellipse(-0.2, 0, 0.75, 0.48),
        polygon(0.35, 0, 1, -0.55, 1, 0.55),
        hole(ellipse(-0.6, -0.12, 0.1)),
    ),
    "tree": (box(-0.15, 0.4, 0.15, 1), ellipse(0, -0.25, 0.72)),
    "pine": (
        box(-0.12, 0.6, 0.12, 1),
        polygon(0, -1, 0.5, -0.3, -0.5, -0.3),
        polygon(0, -0.65, 0.65, 0.2, -0.65, 0.2),
        polygon(0, -0.2, 0.8, 0.7, -0.8, 0.7),
    ),
    "house": (
        box(-0.7, -0.1, 0.7, 0.95),
        polygon(0, -0.95, 1, -0.1, -1, -0.1),
        hole(box(-0.2, 0.35, 0.2, 0.95)),
    ),
    "boat": (
        polygon(-1, 0.35, 1, 0.35, 0.6, 0.9, -0.6, 0.9),
        box(-0.06, -0.95, 0.06, 0.4),
        polygon(0.1, -0.9, 0.8, 0.2, 0.1, 0.2),
    ),
    "car": (
        box(-1, -0.05, 1, 0.45),
        polygon(-0.55, -0.05, -0.35, -0.5, 0.4, -0.5, 0.65, -0.05),
        *mirrored(ellipse(-0.55, 0.5, 0.26)),
        *mirrored(hole(ellipse(-0.55, 0.5, 0.1))),
    ),
    "mushroom": (
        dome(0, -0.05, 0.95, 0.8),
        polygon(-0.25, -0.1, 0.25, -0.1, 0.32, 0.9, -0.32, 0.9),
    ),
    "key": (
        ellipse(-0.6, 0, 0.4),
        hole(ellipse(-0.6, 0, 0.18)),
        box(-0.25, -0.11, 1, 0.11),
        box(0.5, 0.1, 0.65, 0.4),
        box(0.82, 0.1, 0.97, 0.5),
    ),
    "umbrella": (
        dome(0, -0.05, 1, 0.85),
        box(-0.07, -0.1, 0.07, 0.8),
        box(-0.35, 0.7, 0.07, 0.85),
        box(-0.35, 0.55, -0.22, 0.85),
    ),
    "clover": (*around(3, ellipse(0, -0.45, 0.42), 0), bar(0, 0, 0.2, 1, 0.14)),
    "cloud": (
        *mirrored(ellipse(-0.5, 0.2, 0.45)),
        ellipse(0, -0.15, 0.55),
        box(-0.5, 0.2, 0.5, 0.65),
    ),
    "lightning": (
        polygon(0.2, -1, -0.55, 0.15, -0.05, 0.15, -0.3, 1, 0.55, -0.25, 0.05, -0.25, 0.5, -1),
    ),
    "leaf": (
        polygon(0, -1, 0.45, -0.55, 0.55, 0, 0.35, 0.45, 0, 0.7, -0.35, 0.45, -0.55, 0, -0.45, -0.55),
        box(-0.05, 0.6, 0.05, 1),
        hole(box(-0.03, -0.6, 0.03, 0.6)),
    ),
    "cup": (
        ellipse(0.5, -0.05, 0.42),
        hole(ellipse(0.5, -0.05, 0.22)),
        polygon(-0.7, -0.7, 0.45, -0.7, 0.35, 0.8, -0.6, 0.8),
    ),
    "crown": (
        polygon(-0.95, -0.6, -0.5, 0.1, 0, -0.85, 0.5, 0.1, 0.95, -0.6, 0.8, 0.75, -0.8, 0.75),
    ),
    "bell": (
        dome(0, -0.1, 0.55, 0.8),
        polygon(-0.55, -0.15, 0.55, -0.15, 0.85, 0.6, -0.85, 0.6),
        ellipse(0, 0.72, 0.2),
    ),
    "ladder": (
        *mirrored(box(-0.5, -1, -0.32, 1)),
        *(box(-0.4, y, 0.4, y + 0.15) for y in (-0.75, -0.3, 0.15, 0.6)),
    ),
    "anchor": (
        box(-0.1, -0.6, 0.1, 0.8),
        ellipse(0, -0.75, 0.24),
        hole(ellipse(0, -0.75, 0.1)),
        box(-0.45, -0.45, 0.45, -0.28),
        arch(0, 0.2, (0.85, 0.75), (0.6, 0.45), 0.1, math.pi - 0.1),
    ),
    "apple": (
        *mirrored(ellipse(-0.3, 0.2, 0.58, 0.7)),
        bar(0, -0.35, 0.15, -0.95, 0.15),
        ellipse(0.42, -0.72, 0.28, 0.14),
    ),
    "butterfly": (
        *mirrored(ellipse(-0.5, -0.4, 0.48, 0.5)),
        *mirrored(ellipse(-0.4, 0.45, 0.36, 0.42)),
        box(-0.09, -0.7, 0.09, 0.8),
    ),
    "snowflake": (
        *around(6, bar(0, 0, 0, -1, 0.17), TURN / 12),
        *around(6, bar(0, -0.55, -0.3, -0.85, 0.14), TURN / 12),
        *around(6, bar(0, -0.55, 0.3, -0.85, 0.14), TURN / 12),
    ),
    "spiral": (_spiral(),),
    "hourglass": (
        polygon(-0.7, -0.9, 0.7, -0.9, -0.7, 0.9, 0.7, 0.9),
        box(-0.8, -1, 0.8, -0.82),
        box(-0.8, 0.82, 0.8, 1),
    ),
    "hammer": (
        box(-0.12, -0.5, 0.12, 1),
        box(-0.75, -0.9, 0.55, -0.4),
        polygon(0.55, -0.9, 0.95, -0.5, 0.55, -0.5),
    ),
    "flag": (
        box(-0.8, -1, -0.64, 1),
        polygon(-0.7, -0.95, 0.9, -0.75, 0.6, -0.4, 0.9, -0.02, -0.7, 0.05),
    ),
    "envelope": (
        box(-1, -0.65, 1, 0.65),
        *mirrored(hole(bar(-0.95, -0.6, 0, 0.15, 0.12))),
    ),
    "gear": (star(9, 1, 0.72), ellipse(0, 0, 0.78), hole(ellipse(0, 0, 0.3))),
    "bottle": (
        box(-0.42, -0.2, 0.42, 1),
        polygon(-0.42, -0.2, -0.15, -0.5, 0.15, -0.5, 0.42, -0.2),
        box(-0.16, -1, 0.16, -0.4),
    ),
    "candle": (box(-0.3, -0.25, 0.3, 1), polygon(0, -1, 0.2, -0.6, 0, -0.35, -0.2, -0.6)),
    "rocket": (
        polygon(0, -1, 0.35, -0.4, 0.35, 0.55, -0.35, 0.55, -0.35, -0.4),
        *mirrored(polygon(-0.35, 0.1, -0.8, 0.75, -0.35, 0.55)),
        polygon(-0.2, 0.55, 0.2, 0.55, 0, 1),
        hole(ellipse(0, -0.15, 0.16)),
    ),
    "spoon": (ellipse(0, -0.6, 0.36, 0.4), box(-0.1, -0.3, 0.1, 1)),
    "fork": (
        box(-0.1, -0.1, 0.1, 1),
        box(-0.42, -0.3, 0.42, -0.05),
        *(box(x - 0.09, -1, x + 0.09, -0.2) for x in (-0.33, 0, 0.33)),
    ),
    "glasses": (
        *mirrored(ellipse(-0.5, 0, 0.45)),
        *mirrored(hole(ellipse(-0.5, 0, 0.28))),
        box(-0.12, -0.1, 0.12, 0.06),
    ),
    "chair": (box(-0.6, -1, -0.4, 1), box(-0.6, 0, 0.6, 0.2), box(0.4, 0.1, 0.6, 1)),
    "table": (box(-1, -0.45, 1, -0.2), *mirrored(box(-0.85, -0.3, -0.65, 0.75))),
    "mountain": (polygon(-1, 0.75, -0.35, -0.55, -0.02, 0.1, 0.35, -0.9, 1, 0.75),),
    "sun": (ellipse(0, 0, 0.5), *around(8, bar(0, -0.62, 0, -1, 0.16))),
    "cat": (
        ellipse(0, 0.15, 0.75, 0.68),
        *mirrored(polygon(-0.75, 0.1, -0.7, -0.95, -0.1, -0.4)),
        *mirrored(hole(ellipse(-0.28, 0.05, 0.12))),
    ),
    "bird": (
        ellipse(-0.05, 0.1, 0.62, 0.42),
        ellipse(0.5, -0.35, 0.3),
        polygon(0.75, -0.4, 1.05, -0.25, 0.75, -0.18),
        polygon(-0.5, 0.1, -1.05, -0.35, -0.95, 0.3),
        bar(0, 0.4, 0, 0.9, 0.12),
    ),
    "hat": (box(-1, 0.4, 1, 0.62), polygon(-0.5, -0.75, 0.5, -0.75, 0.6, 0.5, -0.6, 0.5)),
    "shirt": (
        polygon(
            -0.4, -0.85, 0.4, -0.85, 1, -0.4, 0.75, 0, 0.5, -0.15, 0.5, 0.9,
            -0.5, 0.9, -0.5, -0.15, -0.75, 0, -1, -0.4,
        ),
        hole(ellipse(0, -0.85, 0.22, 0.2)),
    ),
    "lamp": (
        polygon(-0.35, -0.95, 0.35, -0.95, 0.75, -0.05, -0.75, -0.05),
        box(-0.08, -0.1, 0.08, 0.8),
        box(-0.5, 0.75, 0.5, 0.95),
    ),
    "book": (
        *mirrored(polygon(0, -0.55, 0.95, -0.75, 0.95, 0.6, 0, 0.8)),
        hole(box(-0.04, -0.6, 0.04, 0.8)),
    ),
    "bone": (
        box(-0.7, -0.18, 0.7, 0.18),
        *mirrored(ellipse(-0.72, -0.24, 0.27)),
        *mirrored(ellipse(-0.72, 0.24, 0.27)),
    ),
    "balloon": (
        ellipse(0, -0.3, 0.6, 0.68),
        polygon(0, 0.3, 0.15, 0.5, -0.15, 0.5),
        bar(0, 0.45, 0.1, 1, 0.09),
    ),
    "magnet": (
        arch(0, -0.1, (0.8, 0.85), (0.38, 0.42), TURN / 2, TURN),
        *mirrored(box(-0.8, -0.1, -0.38, 0.9)),
    ),
}  # fmt: skip
