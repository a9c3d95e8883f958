"""Looking into image files: which cannot be read, and which a network would not see as they are."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from dassl.data.datasets import Datum
from PIL import Image
from tqdm import tqdm

AT_ONCE = 10_000
"""Images queued for decoding at a time, so that a million of them do not fill the memory."""
UNREADABLE = "cannot be read"
NO_RANGE = "have numbers of no known range (32 bits or floats)"
SIXTEEN_BITS = "have 16 bits, which are scaled to 8"
FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""Those that are read: Pillow hands some others (EPS) to programs that execute what the file says."""
SIXTEEN_BIT_FORMATS = ("PNG", "PPM")
"""Formats that have no more than 16 bits, whatever mode a version of Pillow gives them."""


def find_flaws(items: Iterable[Datum], name: str) -> dict[str, list[str]]:
    """Paths of the images with a flaw, in order, by flaw (see `flaw_of`); shows a progress bar."""
    paths = [item.impath for item in items]
    flaws: dict[str, list[str]] = {UNREADABLE: [], NO_RANGE: [], SIXTEEN_BITS: []}
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
    """What is wrong with an image: `UNREADABLE`, `NO_RANGE`, `SIXTEEN_BITS`, or nothing."""
    if not os.path.isfile(path):
        return UNREADABLE  # opening a pipe would wait for ever
    try:
        with Image.open(path, formats=FORMATS) as image:
            image.draft("RGB", (1, 1))  # reads a JPEG to its end, at an eighth of its size
            image.load()
            mode, kind = image.mode, image.format
    except Exception:  # Pillow's decoders raise anything, from OSError to SyntaxError
        return UNREADABLE
    if mode.startswith("I;16") or (mode == "I" and kind in SIXTEEN_BIT_FORMATS):
        return SIXTEEN_BITS
    return NO_RANGE if mode in ("I", "F") else ""
