"""What everything in the world is painted with: colours, silhouettes, noise, media.

A picture is an array (SIDE, SIDE, 3) of floats in 0..1 until it is finished.
"""

from __future__ import annotations

import colorsys
import io
import math
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .shapes import Part

SIDE = 64
"""Width and height of every picture, pixels."""
_FINER = 2  # silhouettes are drawn this many times larger and scaled down, for soft edges

COLOURS = {
    "red": (0.0, 0.85, 0.85),
    "orange": (0.075, 0.9, 0.95),
    "yellow": (0.15, 0.85, 0.95),
    "green": (0.34, 0.75, 0.65),
    "turquoise": (0.48, 0.7, 0.8),
    "blue": (0.62, 0.8, 0.8),
    "purple": (0.77, 0.65, 0.65),
    "pink": (0.92, 0.45, 0.97),
    "brown": (0.07, 0.7, 0.42),
    "gray": (0.0, 0.0, 0.52),
    "black": (0.0, 0.0, 0.08),
    "white": (0.0, 0.0, 0.96),
}
"""Hue, saturation and value of each colour word."""
_CLOSE = {"black": {"brown", "gray"}, "white": {"yellow", "pink"}, "orange": {"yellow", "red"}}


def colour(random: np.random.Generator, name: str, spread: float = 1) -> np.ndarray:
    """A shade of the colour ``name``, RGB in 0..1."""
    hue, saturation, value = COLOURS[name]
    hue += random.normal() * 0.012 * spread
    saturation += random.normal() * (0.06 if saturation else 0.015) * spread
    value += random.normal() * 0.05 * spread
    clipped = (min(max(part, 0), 1) for part in (saturation, value))
    return np.array(colorsys.hsv_to_rgb(hue % 1, *clipped), np.float32)


def other_colour(random: np.random.Generator, *taken: str) -> str:
    """A colour word that reads differently from those taken."""
    near = set(taken).union(*(_CLOSE.get(name, ()) for name in taken))
    near |= {name for name, close in _CLOSE.items() if close & set(taken)}
    return str(random.choice([name for name in COLOURS if name not in near]))


def smooth_noise(random: np.random.Generator, cells: int) -> np.ndarray:
    """Noise in 0..1 that changes over about SIDE / cells pixels, (SIDE, SIDE)."""
    coarse = Image.fromarray(random.random((cells, cells)).astype(np.float32))
    return np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def silhouette(
    parts: Sequence[Part],
    x: float,
    y: float,
    radius: float,
    turn: float = 0,
    stretch: float = 1,
) -> np.ndarray:
    """Coverage in 0..1, (SIDE, SIDE), of a thing centred at x, y; ``turn`` in radians."""
    image = Image.new("L", (SIDE * _FINER, SIDE * _FINER))
    pen = ImageDraw.Draw(image)
    c, s = math.cos(turn), math.sin(turn)
    matrix = np.array([[c, s], [-s, c]]) * radius
    for outline, filled in parts:
        points = (outline * [stretch, 1 / stretch]) @ matrix + [x, y]
        pen.polygon([tuple(point) for point in points * _FINER], fill=255 if filled else 0)
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32) / 255


def outline(mask: np.ndarray) -> np.ndarray:
    """The edges of a mask, 0..1, about two pixels wide."""
    edges = np.zeros_like(mask)
    edges[1:] += np.abs(np.diff(mask, axis=0))
    edges[:, 1:] += np.abs(np.diff(mask, axis=1))
    return np.clip(edges, 0, 1)


def over(picture: np.ndarray, mask: np.ndarray, paint: np.ndarray) -> np.ndarray:
    """``paint`` (an RGB colour or a picture) laid over the picture where the mask covers it."""
    return picture * (1 - mask[..., None]) + mask[..., None] * paint


def as_image(picture: np.ndarray) -> Image.Image:
    """The finished picture."""
    return Image.fromarray((np.clip(picture, 0, 1) * 255).astype(np.uint8))


def as_picture(image: Image.Image) -> np.ndarray:
    """An image as an array to paint on."""
    return np.asarray(image, np.float32) / 255


def filtered(picture: np.ndarray, kernel: ImageFilter.Filter) -> np.ndarray:
    """The picture after one of Pillow's filters."""
    return as_picture(as_image(picture).filter(kernel))


def coarsened(picture: np.ndarray, side: int) -> np.ndarray:
    """The picture in ``side`` x ``side`` blocks."""
    small = as_image(picture).resize((side, side), Image.Resampling.BOX)
    return as_picture(small.resize((SIDE, SIDE), Image.Resampling.NEAREST))


def compressed(picture: np.ndarray, quality: int) -> np.ndarray:
    """The picture after a JPEG of that quality."""
    memory = io.BytesIO()
    as_image(picture).save(memory, "JPEG", quality=quality)
    return as_picture(Image.open(memory))


_Y, _X = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)


def _drawn(ink: np.ndarray, paper: np.ndarray, edges: np.ndarray, strength: float) -> np.ndarray:
    lines = np.clip(
        filtered(np.repeat(edges[..., None], 3, 2), ImageFilter.GaussianBlur(0.5)) * 1.6, 0, 1
    )
    return paper * (1 - lines * strength) + ink * lines * strength


def _sketch(random, picture, mask, edges):
    paper = 0.93 + 0.05 * smooth_noise(random, 4) + random.normal(size=(SIDE, SIDE)) * 0.015
    return _drawn(np.float32(0.1), paper[..., None], edges, random.uniform(0.7, 0.95))


def _blueprint(random, picture, mask, edges):
    paper = np.ones((SIDE, SIDE, 3), np.float32) * colour(random, "blue") * 0.8
    step, (down, across) = random.integers(6, 10), random.integers(0, 6, 2)
    paper[down::step] += 0.07
    paper[:, across::step] += 0.07
    return _drawn(np.float32([0.9, 0.95, 1]), paper, edges, random.uniform(0.7, 0.95))


def _tattoo(random, picture, mask, edges):
    tone = random.uniform(0.45, 1)
    skin = np.float32([0.95, 0.76, 0.62]) * tone * (1 - 0.25 * smooth_noise(random, 2)[..., None])
    skin = over(skin, mask * 0.25, skin * 0.55)
    return _drawn(np.float32([0.05, 0.1, 0.25]), skin, edges, 0.9)


def _graffiti(random, picture, mask, edges):
    wall = np.ones((SIDE, SIDE, 3), np.float32) * (0.45 + 0.3 * smooth_noise(random, 12)[..., None])
    wall[:: random.integers(7, 11)] *= 0.6
    sprayed = filtered(
        over(wall, np.clip(mask * 0.9 + edges * 0.3, 0, 1), picture), ImageFilter.GaussianBlur(0.8)
    )
    return _drawn(np.float32(1), sprayed, edges, 0.8)


def _painting(random, picture, mask, edges):
    strokes = filtered(picture, ImageFilter.ModeFilter(5))
    ridge = smooth_noise(random, 24) * 0.3 + 0.82
    return np.round(strokes * 5) / 5 * ridge[..., None]


def _cartoon(random, picture, mask, edges):
    flat = np.round(picture * 3) / 3
    thick = filtered(np.repeat(edges[..., None], 3, 2), ImageFilter.MaxFilter(3))
    return flat * (1 - thick)


def _origami(random, picture, mask, edges):
    folded = np.ones((SIDE, SIDE), np.float32)
    for _ in range(3):
        angle = random.uniform(0, 2 * math.pi)
        x, y = random.uniform(0.3, 0.7, 2) * SIDE
        folded *= np.where((_X - x) * math.cos(angle) + (_Y - y) * math.sin(angle) > 0, 1, 0.68)
    return over(picture * 0.3 + 0.65, mask, picture * folded[..., None])


def _embroidered(random, picture, mask, edges):
    slope = random.choice([-1, 1])
    thread = 0.55 + 0.45 * np.sin((_X + slope * _Y) * (math.pi / 2))
    cloth = picture * (0.9 + 0.1 * np.cos(_X * math.pi) * np.cos(_Y * math.pi))[..., None]
    return over(cloth, mask, picture * thread[..., None])


def _plastic(random, picture, mask, edges):
    soft = filtered(np.repeat(mask[..., None], 3, 2), ImageFilter.GaussianBlur(2.5))
    shine = np.clip(np.roll(soft, (3, 3), (0, 1)) - np.roll(soft, (-2, -2), (0, 1)), -1, 1)
    return np.clip(picture - mask[..., None] * shine * 0.9, 0, 1)


def _sculpture(random, picture, mask, edges):
    grey = picture.mean(-1, keepdims=True) * 0.35 + 0.4
    stone = np.float32([1, 0.97, 0.9]) * (grey + 0.12 * smooth_noise(random, 20)[..., None])
    return _plastic(random, over(picture * 0.4 + 0.25, mask, stone), mask, edges)


def _video_game(random, picture, mask, edges):
    return np.round(coarsened(over(picture * 0.15, mask, picture), 21) * 3) / 3


def _negative(random, picture, mask, edges):
    return 1 - picture


Medium = Callable[[np.random.Generator, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
MEDIA: dict[str, Medium] = {
    "photo": lambda random, picture, mask, edges: picture,
    "sketch": _sketch,
    "blueprint": _blueprint,
    "tattoo": _tattoo,
    "graffiti": _graffiti,
    "painting": _painting,
    "cartoon": _cartoon,
    "origami": _origami,
    "embroidered": _embroidered,
    "plastic": _plastic,
    "sculpture": _sculpture,
    "video game": _video_game,
    "negative": _negative,
}
"""How a picture (its colours, its foreground mask and its edges given) looks in each medium."""

FLAWS: dict[str, Callable[[np.random.Generator, np.ndarray], np.ndarray]] = {
    "blurry": lambda random, picture: filtered(
        picture, ImageFilter.GaussianBlur(random.uniform(1.3, 2))
    ),
    "low resolution": lambda random, picture: coarsened(picture, int(random.integers(20, 25))),
    "pixelated": lambda random, picture: coarsened(picture, int(random.integers(14, 20))),
    "jpeg corrupted": lambda random, picture: compressed(picture, int(random.integers(4, 12))),
    "dark": lambda random, picture: picture * random.uniform(0.3, 0.5),
    "bright": lambda random, picture: 1 - (1 - picture) * random.uniform(0.4, 0.65),
    "black and white": lambda random, picture: np.repeat(picture.mean(-1, keepdims=True), 3, -1),
    "dirty": lambda random, picture: over(
        picture, (smooth_noise(random, 16) > 0.75) * np.float32(0.8), np.float32([0.3, 0.22, 0.12])
    ),
    "hard to see": lambda random, picture: 0.5 + (picture - 0.5) * random.uniform(0.3, 0.45),
    "bad": lambda random, picture: picture + random.normal(size=picture.shape) * 0.12,
}
"""What may be wrong with a photo."""
