"""Random streams that depend on named numbers alone, not on what ran before."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

__all__ = ["base_seed", "mix", "seeded"]


def base_seed(seed: int) -> int:
    """``seed``, or where it is negative the one that torch's global generator was started with.

    The latter is random unless the program has seeded torch, and reading it draws nothing.
    """
    return seed if seed >= 0 else torch.initial_seed()


def mix(*numbers: int) -> int:
    """One 63-bit seed made of several non-negative numbers; all of them matter, and their order."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]) >> 1


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run a block with Python's, NumPy's and torch's CPU generators seeded, then put them back.

    CUDA's generators are left alone: this runs for every image, and images are augmented on the
    CPU.
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()
    torch_state = torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        torch.set_rng_state(torch_state)
