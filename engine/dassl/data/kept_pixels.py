"""Decoded pixels of images that are read in every epoch, in memory that workers share."""

from __future__ import annotations

import mmap
import multiprocessing
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

__all__ = ["KeptPixels"]


class KeptPixels:
    """Decodes each image once and keeps its pixels, as far as they fit.

    Forked workers share the memory, whichever of them fills it, and it is taken only as it is filled.
    Workers that are started in another way, as on Windows and macOS, decode every time.

    Args:
        count: how many images there are.
        limit: bytes of memory at most; 0 keeps nothing.
    """

    def __init__(self, count: int, limit: int) -> None:
        self._memory = None
        if not count or not limit:
            return
        try:
            self._memory = memoryview(mmap.mmap(-1, limit))
            numbers = mmap.mmap(-1, 8 * 3 * (count + 1))
        except (OSError, OverflowError, ValueError):  # no system gives so much
            self._memory = None
            return
        # offset, width and height of each image, 0 where it is not kept; last the number of bytes taken
        self._table = np.frombuffer(numbers, np.int64).reshape(-1, 3)
        self._lock = multiprocessing.Lock()

    def image(self, index: int, read: Callable[[], Image.Image]) -> Image.Image:
        """The image of that number, which ``read`` decodes where it is not kept; a copy to change."""
        if self._memory is None:
            return read()
        with self._lock:
            offset, width, height = self._table[index].tolist()
        if width:
            pixels = self._memory[offset : offset + 3 * width * height]
            return Image.frombytes("RGB", (width, height), pixels)
        image = read()
        if image.mode == "RGB":
            self._keep(index, image)
        return image

    def _keep(self, index: int, image: Image.Image) -> None:
        size = 3 * image.width * image.height
        with self._lock:
            taken = int(self._table[-1, 0])
            if taken + size > len(self._memory):
                return
            self._table[-1, 0] = taken + size
        self._memory[taken : taken + size] = image.tobytes()
        with self._lock:
            self._table[index] = taken, image.width, image.height

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (0, 0)
