"""The four kinds of picture: a thing, a flower, a fabric, and a formation of things."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .canvas import (
    FLAWS,
    MEDIA,
    SIDE,
    as_image,
    as_picture,
    colour,
    filtered,
    other_colour,
    outline,
    over,
    silhouette,
    smooth_noise,
)
from .fabrics import weave
from .flowers import PETALS, SPECIES
from .shapes import THINGS, around, ellipse

FILLS = ("checkerboard", "chevron", "polka", "ripple", "ticking", "windowpane")
"""Fabrics that a thing may be covered with."""
FORMATIONS = ("row", "column", "slope", "ring", "heap", "zigzag")
COUNTS = {3: "three", 4: "four", 5: "five", 6: "six"}


@dataclass(frozen=True)
class Look:
    """How much the pictures of one class differ from each other.

    Attributes:
        turn: standard deviation of a thing's rotation, radians.
        radius: smallest and largest radius of a single thing, as a share of half the side.
        stretch: largest relative change of a thing's proportions.
        spread: variation of shades, 1 being moderate.
        shading: largest darkening by smooth shadows.
        light: standard deviation of the brightness.
        noise: mean standard deviation of the noise where there is any.
        grain: chance of noise.
        litter: chance of stray strokes and spots.
        blur: chance of a slight blur.
        pattern: chance of a patterned background.
    """

    turn: float = 0.18
    radius: tuple[float, float] = (0.5, 0.92)
    stretch: float = 0.08
    spread: float = 1.0
    shading: float = 0.15
    light: float = 0.08
    noise: float = 0.02
    grain: float = 1.0
    litter: float = 0.0
    blur: float = 0.1
    pattern: float = 0.15


@dataclass
class Scene:
    """A picture before its medium: the picture, (SIDE, SIDE, 3), and the mask and the edges of what
    it shows, (SIDE, SIDE)."""

    picture: np.ndarray
    mask: np.ndarray
    edges: np.ndarray

    @classmethod
    def empty(cls, random: np.random.Generator, look: Look, ground: str, *taken: str) -> Scene:
        """A background of the colour ``ground``, shaded or patterned at times."""
        picture = np.ones((SIDE, SIDE, 3), np.float32) * colour(random, ground, look.spread)
        if random.random() < look.pattern:
            second = colour(random, other_colour(random, ground, *taken), look.spread)
            pattern = weave(random, str(random.choice(FILLS)), random.uniform(8, 20), 0.5)
            picture = over(picture, 0.35 * pattern, second)
        elif random.random() < 0.4:
            picture = picture * (1 - 0.35 * smooth_noise(random, 2)[..., None])
        return cls(picture, *np.zeros((2, SIDE, SIDE), np.float32))

    def add(self, mask: np.ndarray, paint: np.ndarray) -> None:
        """Lay ``paint`` over the scene where the mask covers it."""
        self.picture = over(self.picture, mask, paint)
        self.mask = np.maximum(self.mask, mask)
        self.edges = np.maximum(self.edges * (1 - mask), outline(mask))

    def finish(
        self, random: np.random.Generator, look: Look, medium: str = "photo", flaw: str = ""
    ) -> Image.Image:
        """The picture in its medium, with light, litter, noise and blur upon it."""
        if look.shading:
            shadow = look.shading * random.random() * smooth_noise(random, 3)
            self.picture = self.picture * (1 - shadow[..., None])
        picture = np.clip(MEDIA[medium](random, self.picture, self.mask, self.edges), 0, 1)
        if random.random() < look.litter:
            picture = _littered(random, picture)
        picture = picture * (1 + random.normal() * look.light) + random.normal() * look.light / 3
        if flaw:
            picture = FLAWS[flaw](random, picture)
        if random.random() < look.blur:
            picture = filtered(picture, ImageFilter.GaussianBlur(random.uniform(0.4, 1)))
        if random.random() < look.grain:
            noise = random.normal(size=picture.shape).astype(np.float32)
            picture = picture + noise * look.noise * random.uniform(0, 2)
        return as_image(picture)


def _littered(random: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    image = as_image(picture)
    pen = ImageDraw.Draw(image)
    for _ in range(random.integers(1, 4)):
        ink = tuple(int(part) for part in random.integers(0, 256, 3))
        x, y = random.random(2) * SIDE
        if random.random() < 0.5:
            far = (x + random.normal() * 16, y + random.normal() * 16)
            pen.line([(x, y), far], fill=ink, width=int(random.integers(1, 3)))
        else:
            r = random.uniform(1, 3.5)
            pen.ellipse([x - r, y - r, x + r, y + r], fill=ink)
    return as_picture(image)


def _paint(
    random: np.random.Generator, look: Look, tone: str, fill: str, taken: str, radius: float
) -> np.ndarray:
    """The paint for a thing: plain, or covered with a fabric whose second tone stands out."""
    paint = np.ones((SIDE, SIDE, 3), np.float32) * colour(random, tone, look.spread)
    if fill:
        second = colour(random, other_colour(random, tone, taken), look.spread)
        paint = over(
            paint, weave(random, fill, max(6, radius * random.uniform(0.4, 0.6)), 0.3), second
        )
    return paint


def _place(random: np.random.Generator, radius: float) -> np.ndarray:
    margin = min(radius * 1.02, SIDE / 2 - 1)
    return random.uniform(margin, SIDE - margin, 2)


def _stretch(random: np.random.Generator, look: Look) -> float:
    return 1 + random.uniform(-1, 1) * look.stretch


def thing(
    random: np.random.Generator,
    look: Look,
    name: str,
    tone: str,
    fill: str = "",
    radius: tuple[float, float] | None = None,
    ground: str = "",
) -> Scene:
    """One thing of the colour ``tone``."""
    size = random.uniform(*(radius or look.radius)) * SIDE / 2
    ground = ground or other_colour(random, tone)
    scene = Scene.empty(random, look, ground, tone)
    turn, stretch = random.normal() * look.turn, _stretch(random, look)
    mask = silhouette(THINGS[name], *_place(random, size), size, turn, stretch)
    scene.add(mask, _paint(random, look, tone, fill, ground, size))
    return scene


def flower(
    random: np.random.Generator, look: Look, name: str, tone: str, ground: str = ""
) -> Scene:
    """One flower of a species, seen from above or aslant."""
    species = SPECIES[name]
    size = random.uniform(max(0.62, look.radius[0]), 0.98) * SIDE / 2
    ground = ground or (
        "green" if random.random() < 0.5 else other_colour(random, tone, species.centre)
    )
    scene = Scene.empty(random, look, ground, tone)
    x, y = _place(random, size)
    turn, stretch = random.uniform(0, 2 * math.pi), 1 - random.random() * 2 * look.stretch
    paint = colour(random, tone, look.spread)
    petal = PETALS[species.shape]
    for whorl in range(species.whorls):
        reach, offset = 1 - 0.28 * whorl, whorl * math.pi / species.petals
        for part in around(species.petals, petal, offset):
            mask = silhouette([part], x, y, size * reach, turn, stretch)
            shade = paint * (1 - 0.14 * whorl) * random.uniform(0.88, 1)
            scene.add(mask, shade)
            scene.picture = over(scene.picture, outline(mask) * 0.45, paint * 0.35)
    centre = silhouette([ellipse(0, 0, species.radius)], x, y, size, turn, stretch)
    scene.add(centre, colour(random, species.centre, look.spread))
    return scene


def fabric(random: np.random.Generator, look: Look, name: str, tone: str, second: str) -> Scene:
    """A piece of cloth that fills the picture."""
    contrast = random.uniform(1 - look.shading, 1)
    pattern = weave(random, name, random.uniform(11, 22), 0.5 * look.turn) * contrast
    first, other = colour(random, tone, look.spread), colour(random, second, look.spread)
    if name in ("confetti", "terrazzo"):
        hues = np.stack([smooth_noise(random, 16) for _ in range(3)], -1)
        other = np.clip(other * 0.4 + hues * 0.7, 0, 1)
    picture = over(np.ones((SIDE, SIDE, 3), np.float32) * first, pattern, other)
    return Scene(picture, np.ones((SIDE, SIDE), np.float32), outline(pattern))


def _positions(random: np.random.Generator, formation: str, count: int) -> tuple[np.ndarray, float]:
    """Centres (count, 2) relative to the middle and the radius of a thing, in pixels."""
    steps = np.arange(count) - (count - 1) / 2
    span = random.uniform(0.68, 0.8) * SIDE / (count - 1)
    radius = min(0.16 * SIDE, span * 0.46) * random.uniform(0.85, 1)
    if formation == "row":
        return np.stack([steps * span, 0 * steps], 1), radius
    if formation == "column":
        return np.stack([0 * steps, steps * span], 1), radius
    if formation == "slope":
        return np.stack([steps, steps * random.choice([-1, 1])], 1) * span, radius
    if formation == "zigzag":
        height = random.choice([-1, 1]) * SIDE * random.uniform(0.16, 0.2)
        return np.stack([steps * span, height * (-1.0) ** np.arange(count)], 1), radius
    if formation == "ring":
        angle = random.uniform(0, 2 * math.pi) + 2 * math.pi * np.arange(count) / count
        reach = SIDE * random.uniform(0.29, 0.33)
        radius = min(0.15 * SIDE, reach * math.sin(math.pi / count) * 0.85)
        return np.stack([np.cos(angle), np.sin(angle)], 1) * reach, radius
    radius = SIDE * random.uniform(0.11, 0.13)
    centres = [np.zeros(2)]
    while len(centres) < count:
        angle = random.uniform(0, 2 * math.pi)
        step = radius * 1.75 * np.array([math.cos(angle), math.sin(angle)])
        near = centres[random.integers(len(centres))] + step
        if all(np.hypot(*(near - other)) > radius * 1.6 for other in centres):
            centres.append(near)
    heap = np.array(centres) - np.mean(centres, axis=0)
    reach = np.abs(heap).max() + radius
    shrink = min(1, 0.48 * SIDE / reach)
    return heap * shrink, radius * shrink


def formation(
    random: np.random.Generator,
    look: Look,
    name: str,
    count: int,
    of: str,
    tone: str,
    fill: str = "",
    ground: str = "",
) -> Scene:
    """``count`` things of one sort in a formation."""
    ground = ground or other_colour(random, tone)
    scene = Scene.empty(random, look, ground, tone)
    centres, radius = _positions(random, name, count)
    room = np.maximum(SIDE / 2 - np.abs(centres).max(axis=0) - radius, 0)
    middle = SIDE / 2 + random.uniform(-1, 1, 2) * np.minimum(room, 0.2 * SIDE)
    for centre in centres:
        x, y = middle + centre + random.normal(size=2) * SIDE * 0.012
        turn, stretch = random.normal() * look.turn, _stretch(random, look)
        mask = silhouette(THINGS[of], x, y, radius * random.uniform(0.9, 1.05), turn, stretch)
        scene.add(mask, _paint(random, look, tone, fill, ground, radius))
    return scene
