"""The fabrics of the world: patterns of two tones, named as textile designers name them."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .canvas import SIDE, smooth_noise

TURN = 2 * math.pi
_Y, _X = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)


def _step(value: np.ndarray, sharpness: float = 5) -> np.ndarray:
    """0 where ``value`` is negative, 1 where positive, with a soft edge."""
    return 1 / (1 + np.exp(-np.clip(sharpness * value, -30, 30)))


def _zigzag(angle: np.ndarray) -> np.ndarray:
    """A triangular wave between -1 and 1 of period 2 pi."""
    return np.abs((angle / math.pi) % 2 - 1) * 2 - 1


class Threads:
    """Coordinates on the cloth: ``u`` and ``v`` in radians, one turn a repeat, at an angle and an
    offset of its own; ``polar`` about a point near the middle."""

    def __init__(self, random: np.random.Generator, repeat: float, angle: float) -> None:
        self.random, self.repeat = random, repeat
        x, y = _X - random.uniform(0, SIDE), _Y - random.uniform(0, SIDE)
        turn = TURN / repeat
        self.u = (x * math.cos(angle) + y * math.sin(angle)) * turn
        self.v = (-x * math.sin(angle) + y * math.cos(angle)) * turn

    def polar(self) -> tuple[np.ndarray, np.ndarray]:
        """Distance (in radians of the repeat) and angle about a point near the middle."""
        x, y = SIDE * self.random.uniform(0.35, 0.65, 2)
        return np.hypot(_X - x, _Y - y) * TURN / self.repeat, np.arctan2(_Y - y, _X - x)

    def cells(self) -> np.ndarray:
        """How much further the second nearest of some random points is than the nearest."""
        points = self.random.random((int(9000 / self.repeat**2) + 6, 2)) * (SIDE + 16) - 8
        apart = np.hypot(_X[..., None] - points[:, 0], _Y[..., None] - points[:, 1])
        nearest = np.partition(apart, 1, axis=-1)
        return nearest[..., 1] - nearest[..., 0]


def _herringbone(t: Threads) -> np.ndarray:
    return _step(np.sin(1.6 * t.u + 1.6 * math.pi * _zigzag(t.v * 0.5)), 4)


def _argyle(t: Threads) -> np.ndarray:
    diamond = np.abs(_zigzag(t.u * 0.5)) + np.abs(_zigzag(t.v * 0.35))
    lines = np.abs(diamond - 1.0)
    return np.maximum(_step(diamond - 1, 9) * 0.75, _step(0.09 - np.abs(lines - 0.5), 25))


def _basketweave(t: Threads) -> np.ndarray:
    over = np.sin(t.u * 0.5) * np.sin(t.v * 0.5) > 0
    return _step(np.where(over, np.cos(t.u * 2), np.cos(t.v * 2)), 3)


def _honeycomb(t: Threads) -> np.ndarray:
    waves = np.cos(t.u) + np.cos(-0.5 * t.u + 0.866 * t.v) + np.cos(-0.5 * t.u - 0.866 * t.v)
    return _step(-0.8 - waves, 5)


def _fishscale(t: Threads) -> np.ndarray:
    row, down = np.divmod(t.v / math.pi, 1)
    across = (t.u / TURN + 0.5 * (row % 2)) % 1 - 0.5
    return _step(0.16 - np.abs(np.hypot(2 * across, down) - 0.85), 14)


def _bricks(t: Threads) -> np.ndarray:
    row, down = np.divmod(t.v / math.pi, 1)
    joint = np.abs(np.cos(t.u * 0.5 + (row % 2) * math.pi / 2)) - 0.95
    return np.maximum(_step(joint, 30), _step(0.24 - down, 14))


def _swirl(t: Threads) -> np.ndarray:
    distance, angle = t.polar()
    return _step(np.sin(distance * 0.75 + t.random.choice([-2, 2]) * angle))


def _bullseye(t: Threads) -> np.ndarray:
    return _step(np.sin(t.polar()[0]))


def _sunburst(t: Threads) -> np.ndarray:
    return _step(np.sin(t.random.integers(5, 9) * t.polar()[1]), 5)


def _ombre(t: Threads) -> np.ndarray:
    along = t.u - t.u.min()
    return along / along.max()


def _tartan(t: Threads) -> np.ndarray:
    weave = 0.4 * _step(np.sin(t.u * 0.7)) + 0.4 * _step(np.sin(t.v * 0.7))
    lines = np.maximum(_step(np.cos(t.u * 0.7) - 0.93, 40), _step(np.cos(t.v * 0.7) - 0.93, 40))
    return np.maximum(weave, lines)


PATTERNS: dict[str, Callable[[Threads], np.ndarray]] = {
    "pinstripe": lambda t: _step(np.cos(t.u) - 0.85, 12),
    "ticking": lambda t: _step(np.sin(t.u)),
    "chevron": lambda t: _step(np.sin(t.u + 1.7 * _zigzag(t.v * 0.8))),
    "herringbone": _herringbone,
    "ripple": lambda t: _step(np.sin(t.u + 1.7 * np.sin(t.v * 0.6))),
    "checkerboard": lambda t: _step(np.sin(t.u) * np.sin(t.v), 9),
    "gingham": lambda t: 0.5 * _step(np.sin(t.u)) + 0.5 * _step(np.sin(t.v)),
    "tartan": _tartan,
    "windowpane": lambda t: _step(np.maximum(np.cos(t.u), np.cos(t.v)) - 0.85, 12),
    "harlequin": lambda t: _step(np.sin(t.u + 0.55 * t.v) * np.sin(t.u - 0.55 * t.v), 9),
    "argyle": _argyle,
    "trellis": lambda t: _step(
        np.maximum(np.cos(t.u + 0.8 * t.v), np.cos(t.u - 0.8 * t.v)) - 0.85, 12
    ),
    "polka": lambda t: _step(np.cos(t.u) + np.cos(t.v) - 0.75),
    "confetti": lambda t: (t.random.random((SIDE, SIDE)) < 0.2).astype(np.float32),
    "terrazzo": lambda t: _step(t.cells() - 4, 2),
    "crackle": lambda t: _step(1.6 - t.cells(), 2),
    "honeycomb": _honeycomb,
    "fishscale": _fishscale,
    "basketweave": _basketweave,
    "brickwork": _bricks,
    "bullseye": _bullseye,
    "swirl": _swirl,
    "sunburst": _sunburst,
    "marble": lambda t: _step(np.sin(t.u * 0.7 + 9 * smooth_noise(t.random, 5)), 2),
    "camouflage": lambda t: _step(smooth_noise(t.random, 8) - 0.52, 18),
    "ombre": _ombre,
}
UPRIGHT = {"brickwork", "fishscale", "windowpane", "gingham", "tartan", "checkerboard", "basketweave",
           "argyle", "harlequin", "trellis"}  # fmt: skip
"""Patterns told apart by how they hang: turned by a little only."""


def weave(random: np.random.Generator, name: str, repeat: float, tilt: float) -> np.ndarray:
    """The share of the second tone, (SIDE, SIDE) in 0..1, of the pattern ``name``.

    Args:
        repeat: pixels after which the pattern comes again, about.
        tilt: how far an upright pattern may be turned, radians; the others have any angle.
    """
    angle = random.normal() * tilt if name in UPRIGHT else random.uniform(0, math.pi)
    return PATTERNS[name](Threads(random, repeat, angle)).astype(np.float32)
