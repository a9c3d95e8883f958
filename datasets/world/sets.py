"""The downstream sets: their classes, and how the picture of a class and an index is drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from PIL import Image

from .canvas import COLOURS, as_image, as_picture, other_colour
from .fabrics import PATTERNS
from .flowers import SPECIES
from .scenes import COUNTS, FILLS, FORMATIONS, Look, Scene, fabric, flower, formation, thing
from .shapes import THINGS

LOOK = Look(
    turn=0.22,
    radius=(0.6, 0.95),
    stretch=0.12,
    spread=1.3,
    shading=0.3,
    light=0.1,
    noise=0.03,
    grain=0.4,
    litter=0.35,
    blur=0.2,
)
"""More varied than what pre-training saw."""
Painter = Callable[[np.random.Generator, str], Image.Image]


def seeded(*key: str | int) -> np.random.Generator:
    """A generator of its own for a picture, the same on every machine and in every process."""
    digest = sha256("/".join(map(str, key)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def shuffled(names: list[str], key: str) -> list[str]:
    """The names in an order that follows from ``key``, so that both halves hold all sorts."""
    return [names[i] for i in seeded("order", key).permutation(len(names))]


def _colour(random: np.random.Generator) -> str:
    return str(random.choice(list(COLOURS)))


def _thing(random: np.random.Generator, name: str) -> Scene:
    fill = str(random.choice(FILLS)) if random.random() < 0.2 else ""
    return thing(random, LOOK, name, _colour(random), fill)


def _paint_thing(random: np.random.Generator, name: str) -> Image.Image:
    return _thing(random, name).finish(random, LOOK)


def _paint_sketch(random: np.random.Generator, name: str) -> Image.Image:
    return thing(random, LOOK, name, _colour(random)).finish(random, LOOK, "sketch")


def _paint_negative(random: np.random.Generator, name: str) -> Image.Image:
    picture = as_picture(_thing(random, name).finish(random, LOOK, "negative"))
    return as_image(np.floor(picture * 3.999) / 3)


def _paint_rough(random: np.random.Generator, name: str) -> Image.Image:
    picture = as_picture(_thing(random, name).finish(random, LOOK, flaw="pixelated"))
    faded = 0.5 + (picture - 0.5) * random.uniform(0.7, 1)
    return as_image(faded + random.normal(size=picture.shape) * 0.04)


def _paint_flower(random: np.random.Generator, name: str) -> Image.Image:
    tone = str(random.choice(SPECIES[name].colours))
    return flower(random, LOOK, name, tone).finish(random, LOOK)


def _paint_fabric(random: np.random.Generator, name: str) -> Image.Image:
    tone = _colour(random)
    return fabric(random, LOOK, name, tone, other_colour(random, tone)).finish(random, LOOK)


def _paint_formation(random: np.random.Generator, name: str) -> Image.Image:
    sort, number = name.split(" of ")
    count = next(count for count, word in COUNTS.items() if word == number)
    of = str(random.choice(list(THINGS)))
    return formation(random, LOOK, sort, count, of, _colour(random)).finish(
        random, LOOK, "blueprint"
    )


def _paint_coloured(random: np.random.Generator, name: str) -> Image.Image:
    tone, what = name.split(" ")
    return thing(random, LOOK, what, tone).finish(random, LOOK)


@dataclass(frozen=True)
class WorldSet:
    """A downstream set.

    Attributes:
        key: what its pictures are seeded with.
        classes: the class names in the order of their labels.
        paint: draws one picture of a class.
        train, val, test: pictures a class; 0 and 0 for a set that is only tested on.
    """

    key: str
    classes: tuple[str, ...]
    paint: Painter
    train: int = 24
    val: int = 8
    test: int = 40

    @property
    def pictures(self) -> int:
        """Pictures a class in all its splits."""
        return self.train + self.val + self.test

    def draw(self, label: int, index: int) -> Image.Image:
        """Picture ``index`` of the class ``label``."""
        name = self.classes[label]
        return self.paint(seeded(self.key, name, index), name)


_THINGS = tuple(shuffled(list(THINGS), "things")[:48])
_OBJECTS = ("star", "fish", "house", "car", "cup", "apple")
_COLOURED = [f"{tone} {what}" for what in _OBJECTS for tone in shuffled(list(COLOURS), what)[:6]]

SETS: dict[str, WorldSet] = {
    each.key: each
    for each in (
        WorldSet("things", _THINGS, _paint_thing),
        WorldSet("things_sketch", _THINGS, _paint_sketch, 0, 0, 20),
        WorldSet("things_negative", _THINGS, _paint_negative, 0, 0, 20),
        WorldSet("things_rough", _THINGS, _paint_rough, 0, 0, 20),
        WorldSet("flowers", tuple(shuffled(list(SPECIES), "flowers")), _paint_flower),
        WorldSet("fabrics", tuple(shuffled(list(PATTERNS), "fabrics")), _paint_fabric),
        WorldSet(
            "formations",
            tuple(shuffled([f"{f} of {n}" for f in FORMATIONS for n in COUNTS.values()], "formations")),
            _paint_formation,
        ),
        WorldSet("coloured", tuple(shuffled(_COLOURED, "coloured")), _paint_coloured),
    )
}  # fmt: skip
"""Every downstream set by its key."""
