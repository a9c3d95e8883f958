"""Data loading that can be repeated: what is drawn follows from named numbers alone.

The order of the images follows from (seed, stream, epoch), the augmentation of an image from (seed,
stream, epoch, index), whichever process makes it and whatever ran before. It depends on torch and
NumPy only, so that it serves any package that loads images with torch's DataLoader.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, RandomSampler

__all__ = [
    "ItemSeeds",
    "SeededItems",
    "SeededLoader",
    "base_seed",
    "mix",
    "rebuilt",
    "seeded",
    "start_epoch",
]


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


class ItemSeeds:
    """The seeds of a dataset's items: of (seed, stream, epoch, index), and of the pass where the
    items are gone through more than once in an epoch.

    Args:
        seed: of the run, not negative.
        stream: sets datasets of one run apart that hold the same images.
    """

    def __init__(self, seed: int, stream: int = 0) -> None:
        self.seed = seed
        self.stream = stream
        # epoch and pass; in shared memory, so that workers which outlive an epoch see the next one
        self._now = torch.zeros(2, dtype=torch.int64).share_memory_()
        self._begun = False

    @property
    def now(self) -> tuple[int, int]:
        """The epoch, and which pass of it this is, both counted from 0."""
        epoch, repeated = self._now.tolist()
        return epoch, repeated

    def start_epoch(self, epoch: int) -> None:
        """Go to the first pass of that epoch, counted from 0."""
        self._now[0], self._now[1] = epoch, 0
        self._begun = False

    def start_pass(self) -> None:
        """Begin the epoch's first pass, or the next one where it has begun."""
        if self._begun:
            self._now[1] += 1
        self._begun = True

    def of(self, index: int) -> AbstractContextManager[None]:
        """A block that makes the item ``index``, seeded."""
        epoch, repeated = self.now
        numbers = (self.seed, self.stream, epoch, index)
        return seeded(mix(*numbers, repeated) if repeated else mix(*numbers))


class SeededItems(Dataset):
    """Another dataset, whose items are made with seeds of their own.

    Args:
        dataset: what gives the items.
        seeds: their seeds.
    """

    def __init__(self, dataset: Dataset, seeds: ItemSeeds) -> None:
        self.dataset = dataset
        self.seeds = seeds

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        with self.seeds.of(index):
            return self.dataset[index]


class SeededLoader(DataLoader):
    """A loader with generators of its own: iterating it neither changes the global random state nor
    depends on it.

    Args:
        dataset: what gives the items, which makes them under ``seeds``.
        seeds: the seeds of the items, and of their order.
        options: of torch's DataLoader; a sampler whose ``generator`` is not None is seeded too.
    """

    def __init__(self, dataset: Dataset, seeds: ItemSeeds, **options: Any) -> None:
        super().__init__(dataset, generator=torch.Generator(), **options)
        self.seeds = seeds
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Let order and augmentation be those of ``epoch``, whatever the loader did before."""
        start_epoch(self, self.seeds, epoch)

    def __iter__(self) -> Iterator[Any]:
        self.seeds.start_pass()
        return super().__iter__()


def start_epoch(loader: DataLoader, seeds: ItemSeeds, epoch: int) -> None:
    """The same for any loader that has generators of its own."""
    for number, owner in enumerate((loader, loader.sampler)):
        generator = getattr(owner, "generator", None)
        if generator is not None:
            generator.manual_seed(mix(seeds.seed, seeds.stream, epoch, number))
    seeds.start_epoch(epoch)


def rebuilt(
    loader: DataLoader,
    seeds: ItemSeeds,
    keep_workers: bool,
    dataset: Dataset | None = None,
    collate_fn: Callable[[list], Any] | None = None,
) -> SeededLoader:
    """A loader in the place of another one, in the same batches, but seeded.

    The order of a RandomSampler is seeded too; other samplers keep the source that they draw from.

    Args:
        loader: the other one.
        seeds: the seeds of its items.
        keep_workers: let workers outlive a pass.
        dataset: gives the items, seeded; by default the other's, which may not be.
        collate_fn: makes batches of them; by default the other's.
    """
    sampler = loader.sampler
    if isinstance(sampler, RandomSampler):
        sampler.generator = torch.Generator()
    return SeededLoader(
        dataset or SeededItems(loader.dataset, seeds),
        seeds,
        batch_size=loader.batch_size,
        sampler=sampler,
        num_workers=loader.num_workers,
        collate_fn=collate_fn or loader.collate_fn,
        pin_memory=loader.pin_memory,
        drop_last=loader.drop_last,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        persistent_workers=keep_workers and loader.num_workers > 0,
    )
