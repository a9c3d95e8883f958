"""Files that stand for photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (500, 375)
"""Pixels, ImageNet's most frequent size."""


def write_photographs(folder: Path, count: int) -> list[str]:
    """JPEG files of smooth noise, 80 kB each, whose size in bytes is that of photographs."""
    random = np.random.default_rng(0)
    paths = []
    for number in range(count):
        small = Image.fromarray(random.integers(0, 256, (75, 100, 3), dtype=np.uint8))
        paths.append(str(folder / f"{number}.jpg"))
        small.resize(SIZE, Image.Resampling.BICUBIC).save(paths[-1], quality=90)
    return paths
