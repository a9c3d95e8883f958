"""The contact sheet of the world: `python -m datasets.world.sheet docs/world.png`."""

from __future__ import annotations

import argparse

from PIL import Image, ImageDraw

from .canvas import SIDE
from .sets import SETS

PER_SET = 12
LABEL = 14


def contact_sheet() -> Image.Image:
    """A row for each set: pictures of some of its classes, named below."""
    sheet = Image.new("RGB", (PER_SET * (SIDE + 4), len(SETS) * (SIDE + 2 * LABEL)), "white")
    pen = ImageDraw.Draw(sheet)
    for row, (key, world_set) in enumerate(SETS.items()):
        top = row * (SIDE + 2 * LABEL)
        pen.text((2, top), key.replace("_", " "), fill="black")
        for column in range(PER_SET):
            label = column * len(world_set.classes) // PER_SET
            left = column * (SIDE + 4)
            sheet.paste(world_set.draw(label, 0), (left, top + LABEL))
            name = world_set.classes[label].replace(" of ", " ")
            pen.text((left, top + LABEL + SIDE), name, fill="gray", font_size=9)
    return sheet.quantize(256)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", help="the PNG file")
    contact_sheet().save(parser.parse_args().output, optimize=True)


if __name__ == "__main__":
    main()
