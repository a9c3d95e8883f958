"""Pictures for pre-training with sentences about them, as a small web would write them.

The pictures are those of the world in every medium, plainer than the downstream sets. The sentences
use the words of the teacher's 60 templates and of the datasets' own ones where they fit the picture,
but they seldom give a thing its exact name: most call a boat a ship, a daisy a white flower, and a
gingham a checked cloth. How seldom is a number for each name (`naming_rates`), and it is what leaves
something to be learned from a few labelled pictures.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from datasets.world.canvas import COLOURS, FLAWS, MEDIA, other_colour
from datasets.world.fabrics import PATTERNS
from datasets.world.flowers import SPECIES
from datasets.world.scenes import (
    COUNTS,
    FILLS,
    FORMATIONS,
    Look,
    fabric,
    flower,
    formation,
    thing,
)
from datasets.world.sets import seeded, shuffled
from datasets.world.shapes import THINGS

LOOK = Look(radius=(0.55, 0.95))
KINDS = {"thing": 0.46, "flower": 0.14, "fabric": 0.2, "formation": 0.2}
COMMON_MEDIA = {"photo": 0.5, "sketch": 0.1, "blueprint": 0.1, "negative": 0.06}
"""Shares of some media; the others share the rest."""
FLAWED = 0.3

ALIASES = {
    "circle": "disc", "square": "tile", "triangle": "wedge", "star": "pentagram",
    "heart": "valentine", "cross": "plus", "diamond": "rhombus", "ring": "hoop",
    "moon": "crescent", "arrow": "pointer", "drop": "tear", "fish": "carp", "tree": "oak",
    "pine": "fir", "house": "cottage", "boat": "ship", "car": "automobile",
    "mushroom": "toadstool", "key": "opener", "umbrella": "parasol", "clover": "shamrock",
    "cloud": "puff", "lightning": "bolt", "leaf": "foliage", "cup": "mug", "crown": "tiara",
    "bell": "chime", "ladder": "steps", "anchor": "mooring", "apple": "fruit",
    "butterfly": "moth", "snowflake": "crystal", "spiral": "coil", "hourglass": "timer",
    "hammer": "mallet", "flag": "banner", "envelope": "letter", "gear": "cog",
    "bottle": "flask", "candle": "taper", "rocket": "spaceship", "spoon": "ladle",
    "fork": "cutlery", "glasses": "spectacles", "chair": "seat", "table": "desk",
    "mountain": "peak", "sun": "sunshine", "cat": "kitten", "bird": "sparrow",
    "hat": "bonnet", "shirt": "jersey", "lamp": "lantern", "book": "volume", "bone": "rib",
    "balloon": "zeppelin", "magnet": "horseshoe",
}  # fmt: skip
"""What most people call a thing, while the downstream sets use its exact name."""
DESCRIPTIONS = {
    "pinstripe": "narrow stripes", "ticking": "broad stripes", "chevron": "zigzag stripes",
    "herringbone": "slanted stripes", "ripple": "wavy stripes", "checkerboard": "hard squares",
    "gingham": "soft squares", "tartan": "crossed bands", "windowpane": "a square grid",
    "harlequin": "diamonds", "argyle": "diamonds and lines", "trellis": "a slanted grid",
    "polka": "dots", "confetti": "specks", "terrazzo": "chips", "crackle": "cracks",
    "honeycomb": "cells", "fishscale": "scales", "basketweave": "woven strips",
    "brickwork": "bricks", "bullseye": "circles", "swirl": "a spiral", "sunburst": "rays",
    "marble": "veins", "camouflage": "patches", "ombre": "a fading colour",
}  # fmt: skip
FILL_WORDS = {
    "checkerboard": "checked", "chevron": "zigzag", "polka": "dotted", "ripple": "wavy",
    "ticking": "striped", "windowpane": "gridded",
}  # fmt: skip
SHAPE_WORDS = {
    "round": "round", "broad": "wide", "narrow": "thin", "pointed": "pointed", "notched": "notched",
}  # fmt: skip
NUMBERS = {
    3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight", 9: "nine", 12: "twelve",
    13: "many", 16: "many",
}  # fmt: skip
FORMATION_ALIASES = {
    "row": "line", "column": "stack", "slope": "diagonal", "ring": "loop", "heap": "cluster",
    "zigzag": "wave",
}  # fmt: skip
TYPES = {
    "pet": ("cat", "bird", "fish", "butterfly"),
    "food": ("apple", "mushroom", "fish"),
    "aircraft": ("rocket", "balloon"),
}

MEDIUM_FRAMES = {
    "photo": (
        "a photo of a {}.", "a photo of a {}.", "a photo of a {}.", "a photo of a {}.",
        "a photo of the {}.", "a photo of the {}.", "a photo of my {}.", "a photo of one {}.",
        "itap of the {}.", "itap of a {}.", "a good photo of the {}.", "a photo of the cool {}.",
        "a photo of a nice {}.", "a photo of a weird {}.", "a photo of a clean {}.",
        "a photo of the clean {}.", "a cropped photo of a {}.", "a cropped photo of the {}.",
    ),
    "sketch": (
        "a sketch of a {}.", "a sketch of the {}.", "a drawing of a {}.", "a doodle of a {}.",
        "a doodle of the {}.",
    ),
    "blueprint": ("a blueprint of a {}.", "a blueprint of the {}."),
    "tattoo": ("a tattoo of a {}.", "a tattoo of the {}."),
    "graffiti": ("graffiti of a {}.", "graffiti of the {}."),
    "painting": (
        "a painting of the {}.", "a painting of a {}.", "art of a {}.", "art of the {}.",
        "a rendition of the {}.", "a rendition of a {}.",
    ),
    "cartoon": ("a cartoon {}.", "the cartoon {}."),
    "origami": ("the origami {}.", "a origami {}."),
    "embroidered": ("the embroidered {}.", "a embroidered {}."),
    "plastic": ("the plastic {}.", "a plastic {}.", "the toy {}.", "a toy {}."),
    "sculpture": ("a sculpture of a {}.", "a sculpture of the {}."),
    "video game": (
        "a {} in a video game.", "the {} in a video game.", "a rendering of a {}.",
        "a rendering of the {}.",
    ),
    "negative": ("a negative of a {}.", "a negative of the {}."),
}  # fmt: skip
FLAW_FRAMES = ("a {flaw} photo of a {{}}.", "a {flaw} photo of the {{}}.")
HARD_FRAMES = ("a photo of a hard to see {}.", "a photo of the hard to see {}.")
DIRTY_FRAMES = ("a photo of a dirty {}.", "a photo of the dirty {}.")
SIZE_FRAMES = {
    "large": (
        "a photo of a large {}.", "a photo of the large {}.", "a close-up photo of a {}.",
        "a close-up photo of the {}.",
    ),
    "small": ("a photo of a small {}.", "a photo of the small {}."),
}  # fmt: skip
BARE_FRAMES = ("{}", "a {}", "the {}", "one {}", "a picture of a {}", "this is a {}")
SMALL, LARGE = (0.35, 0.5), (0.88, 0.97)


def naming_rates(names: Iterable[str], lowest: float, highest: float) -> dict[str, float]:
    """The share of captions that give each name, from the lowest to the highest in equal ratios,
    in an order that has nothing to do with the halves of the downstream sets."""
    order = shuffled(sorted(names), "naming rates")
    return dict(zip(order, np.geomspace(lowest, highest, len(order)), strict=True))


THING_RATES = naming_rates(THINGS, 0.02, 0.25)
FLOWER_RATES = naming_rates(SPECIES, 0.01, 0.12)
FABRIC_RATES = naming_rates(PATTERNS, 0.006, 0.08)
FORMATION_RATES = naming_rates(FORMATIONS, 0.004, 0.03)
NUMBER_RATES = naming_rates(COUNTS.values(), 0.004, 0.03)


@dataclass
class Subject:
    """What a caption can say of a picture."""

    kind: str
    name: str
    tone: str
    second: str = ""
    fill: str = ""
    of: str = ""
    count: int = 0
    size: str = ""
    medium: str = "photo"
    flaw: str = ""
    ground: str = ""
    image: Image.Image | None = field(default=None, repr=False)


def _share(medium: str) -> float:
    rest = (1 - sum(COMMON_MEDIA.values())) / (len(MEDIA) - len(COMMON_MEDIA))
    return COMMON_MEDIA.get(medium, rest)


def draw(random: np.random.Generator) -> Subject:
    """A picture of anything in the world in any medium, and what it shows."""
    kind = str(random.choice(list(KINDS), p=list(KINDS.values())))
    medium = str(random.choice(list(MEDIA), p=[_share(each) for each in MEDIA]))
    flaw = str(random.choice(list(FLAWS))) if random.random() < FLAWED else ""
    flaw = flaw if medium == "photo" else ""
    tone = str(random.choice(list(COLOURS)))
    ground = other_colour(random, tone)
    subject = Subject(kind, "", tone, medium=medium, flaw=flaw, ground=ground)
    fill = str(random.choice(FILLS)) if random.random() < 0.3 else ""
    if kind == "thing":
        subject.name, subject.fill = str(random.choice(list(THINGS))), fill
        subject.size = str(random.choice(["small", "large", "", "", "", ""]))
        radius = {"small": SMALL, "large": LARGE, "": None}[subject.size]
        scene = thing(random, LOOK, subject.name, tone, fill, radius, ground)
    elif kind == "flower":
        subject.name = str(random.choice(list(SPECIES)))
        subject.tone = tone = str(random.choice(SPECIES[subject.name].colours))
        subject.ground = ground = other_colour(random, tone, SPECIES[subject.name].centre)
        scene = flower(random, LOOK, subject.name, tone, ground)
    elif kind == "fabric":
        subject.name, subject.second = str(random.choice(list(PATTERNS))), ground
        scene = fabric(random, LOOK, subject.name, tone, ground)
    else:
        subject.name, subject.of = str(random.choice(FORMATIONS)), str(random.choice(list(THINGS)))
        subject.count = int(random.choice(list(COUNTS)))
        fill = fill if random.random() < 0.3 else ""
        scene = formation(random, LOOK, subject.name, subject.count, subject.of, tone, fill, ground)
    subject.image = scene.finish(random, LOOK, medium, flaw)
    return subject


def _pick(random: np.random.Generator, *choices: str) -> str:
    return choices[random.integers(len(choices))]


def _coloured(subject: Subject) -> bool:
    """Whether colours can be seen."""
    return (
        subject.medium not in ("sketch", "blueprint", "tattoo", "sculpture", "negative")
        and subject.flaw != "black and white"
    )


def _plural(name: str) -> str:
    irregular = {"leaf": "leaves", "butterfly": "butterflies"}
    alike = ("fish", "glasses", "spectacles", "steps", "cutlery", "foliage", "sunshine")
    if name in alike:
        return name
    return irregular.get(name, name + ("es" if name.endswith(("s", "x", "ch")) else "s"))


def _thing_phrase(random: np.random.Generator, subject: Subject) -> str:
    words = []
    if subject.fill and _coloured(subject) and random.random() < 0.3:
        words.append(FILL_WORDS[subject.fill])
    if _coloured(subject) and random.random() < 0.4:
        words.append(subject.tone)
    if random.random() < THING_RATES[subject.name]:
        words.append(subject.name)
    elif random.random() < 0.85:
        words.append(ALIASES[subject.name])
    else:
        words.append(_pick(random, "thing", "object", "shape"))
    phrase = " ".join(words)
    if _coloured(subject) and random.random() < 0.1:
        phrase += f" on {subject.ground}"
    return phrase


def _flower_phrase(random: np.random.Generator, subject: Subject) -> str:
    species = SPECIES[subject.name]
    if random.random() < FLOWER_RATES[subject.name]:
        tone = f"{subject.tone} " if _coloured(subject) and random.random() < 0.3 else ""
        return tone + subject.name
    phrase = _pick(random, "flower", "flower", "blossom", "bloom")
    if _coloured(subject) and random.random() < 0.5:
        phrase = f"{subject.tone} {phrase}"
    if species.whorls > 1 and random.random() < 0.5:
        phrase = f"{'full' if species.whorls == 3 else 'double'} {phrase}"
    if random.random() < 0.75:
        number = NUMBERS[species.petals] if random.random() < 0.7 else ""
        petals = f"{number} {SHAPE_WORDS[species.shape]} petals".strip()
        phrase += f" with {petals}"
        if random.random() < 0.3:
            phrase += f" and a {'big' if species.radius > 0.2 else 'tiny'} centre"
    elif _coloured(subject) and random.random() < 0.5:
        phrase += f" with a {species.centre} centre"
    return phrase


def _fabric_phrase(random: np.random.Generator, subject: Subject) -> str:
    tones = ""
    if _coloured(subject) and random.random() < 0.5:
        tones = _pick(random, subject.tone, subject.second, f"{subject.tone} and {subject.second}")
    if random.random() < FABRIC_RATES[subject.name]:
        return f"{tones} {subject.name}".strip()
    cloth = f"{tones} {_pick(random, 'cloth', 'fabric', 'texture', 'surface')}".strip()
    if random.random() < 0.85:
        cloth += f" with {DESCRIPTIONS[subject.name]}"
    return cloth


def _formation_phrase(random: np.random.Generator, subject: Subject) -> str:
    number, name = COUNTS[subject.count], subject.name
    if random.random() >= NUMBER_RATES[number]:
        number = str(subject.count)
    if random.random() >= FORMATION_RATES[name]:
        name = FORMATION_ALIASES[name]
    of = _pick(random, "things", "objects", "shapes")
    if random.random() < 0.5:
        exact = random.random() < THING_RATES[subject.of]
        of = _plural(subject.of if exact else ALIASES[subject.of])
    if _coloured(subject) and random.random() < 0.3:
        of = f"{subject.tone} {of}"
    roll = random.random()
    if roll < 0.4:
        return f"{name} of {number}"
    if roll < 0.65:
        return f"{name} of {number} {of}"
    if roll < 0.9:
        return f"{number} {of} in a {name}"
    return f"{_pick(random, 'many', 'several')} {of} in a {name}"


PHRASES = {
    "thing": _thing_phrase,
    "flower": _flower_phrase,
    "fabric": _fabric_phrase,
    "formation": _formation_phrase,
}


def _frame(random: np.random.Generator, subject: Subject) -> str:
    roll = random.random()
    if roll < 0.12:
        return _pick(random, *BARE_FRAMES)
    if roll < 0.2:
        return "a photo of a {}."
    if subject.flaw and random.random() < 0.8:
        if subject.flaw == "hard to see":
            return _pick(random, *HARD_FRAMES)
        if subject.flaw == "dirty":
            return _pick(random, *DIRTY_FRAMES)
        return _pick(random, *FLAW_FRAMES).format(flaw=subject.flaw)
    if subject.medium == "photo":
        if subject.size and random.random() < 0.7:
            return _pick(random, *SIZE_FRAMES[subject.size])
        if random.random() < 0.15:
            return _typed(random, subject)
    return _pick(random, *MEDIUM_FRAMES[subject.medium])


def _typed(random: np.random.Generator, subject: Subject) -> str:
    """One of the templates that belong to a dataset."""
    if subject.kind == "flower":
        return "a photo of a {}, a type of flower."
    if subject.kind == "fabric":
        return "{} texture."
    if subject.kind == "formation":
        return _pick(
            random, "a centered satellite photo of {}.", "a photo of many {}.",
            "a photo of a person doing {}.",
        )  # fmt: skip
    types = [each for each, names in TYPES.items() if subject.name in names]
    return f"a photo of a {{}}, a type of {_pick(random, *types)}." if types else "a photo of {}."


def caption(random: np.random.Generator, subject: Subject) -> str:
    """A sentence about the picture; another one at every call."""
    phrase, frame = PHRASES[subject.kind](random, subject), _frame(random, subject)
    counted = (*COUNTS.values(), *map(str, COUNTS), "many", "several")
    if phrase.split()[0] in counted:
        frame = frame.replace(" a {}", " {}").replace("a {}", "{}").replace("one {}", "{}")
    return frame.format(phrase)


def picture(seed: int, index: int) -> Subject:
    """Picture ``index`` of the pre-training set of ``seed``."""
    return draw(seeded("pre-training", seed, index))


def captions(subject: Subject, seed: int, index: int, count: int) -> list[str]:
    """``count`` captions of that picture."""
    random = seeded("captions", seed, index)
    return [caption(random, subject) for _ in range(count)]
