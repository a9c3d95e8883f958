"""Looking into image files: which cannot be read, and which a network would not see as they are."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from dassl.data.datasets import Datum
from PIL import Image
from tqdm import tqdm

LONGEST_SIDE = 32_000
"""Pixels; what is longer is a map or a scan, of which a square in the middle says nothing."""
RESOLUTION = 224
"""Pixels that most CLIPs see on a side."""
AT_ONCE = 10_000
"""Images queued for decoding at a time, so that a million of them do not fill the memory."""
UNREADABLE = "cannot be read"
TOO_LARGE = "are too large (more than 32,000 pixels on a side, or 89 million in all)"
NO_RANGE = "have numbers of no known range (32 bits or floats)"
SIXTEEN_BITS = "have 16 bits, which are scaled to 8"
FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""Those that are read: Pillow hands some others (EPS) to programs that execute what the file says."""
SIXTEEN_BIT_FORMATS = ("PNG", "PPM")
"""Formats that have no more than 16 bits, whatever mode a version of Pillow gives them."""


def find_flaws(items: Iterable[Datum], name: str) -> dict[str, list[str]]:
    """Paths of the images with a flaw, in order, by flaw (see `flaw_of`); shows a progress bar."""
    paths = [item.impath for item in items]
    flaws: dict[str, list[str]] = {
        flaw: [] for flaw in (UNREADABLE, TOO_LARGE, NO_RANGE, SIXTEEN_BITS)
    }
    with (
        ThreadPoolExecutor() as pool,
        tqdm(total=len(paths), desc=name, unit="image", disable=None) as bar,
    ):
        for start in range(0, len(paths), AT_ONCE):
            some = paths[start : start + AT_ONCE]
            for path, flaw in zip(some, pool.map(flaw_of, some), strict=True):
                bar.update()
                if flaw:
                    flaws[flaw].append(path)
    return flaws


def flaw_of(path: str) -> str:
    """What is wrong with an image: one of the flaws above, or nothing ("")."""
    if not os.path.isfile(path):
        return UNREADABLE  # opening a pipe would wait for ever
    try:
        with Image.open(path, formats=FORMATS) as image:
            if too_large(image.size):
                return TOO_LARGE
            image.draft("RGB", (1, 1))  # reads a JPEG to its end, at an eighth of its size
            image.load()
            mode, kind = image.mode, image.format
    except Image.DecompressionBombError:
        return TOO_LARGE
    except Exception:  # Pillow's decoders raise anything, from OSError to SyntaxError
        return UNREADABLE
    if mode.startswith("I;16") or (mode == "I" and kind in SIXTEEN_BIT_FORMATS):
        return SIXTEEN_BITS
    return NO_RANGE if mode in ("I", "F") else ""


def too_large(size: tuple[int, int], resolution: int = RESOLUTION) -> str:
    """Why a picture would take gigabytes, as it is or once its shorter side has the resolution; ""
    where it would not."""
    width, height = size
    what, most = f"it has {width} x {height} pixels", Image.MAX_IMAGE_PIXELS
    if max(size) > LONGEST_SIDE:
        return f"{what}, more than {LONGEST_SIDE} on a side: make it smaller or cut it"
    if most and width * height > most:
        return f"{what}, more than the {most} that are read: make it smaller"
    if most and resolution**2 * max(size) > most * min(size):
        return f"{what}, which is far too long for its breadth: cut a piece out of it"
    return ""
