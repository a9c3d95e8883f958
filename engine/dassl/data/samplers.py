"""The order in which images are drawn."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

import torch
from dassl.utils import InputError, check_availability
from torch.utils.data import RandomSampler, Sampler, SequentialSampler
from yacs.config import CfgNode

from .datasets import Datum

__all__ = [
    "RandomClassSampler",
    "RandomDomainSampler",
    "RandomSampler",
    "SeqDomainSampler",
    "SequentialSampler",
    "build_sampler",
]


class _GroupSampler(Sampler):
    """Batches made of chunks: ``chunk_size`` images of each of ``groups_per_batch`` groups.

    Args:
        groups: the group of each image.
        chunk_size: images of one group that stand together.
        groups_per_batch: groups in one batch.
        generator: source of randomness; by default one of its own.
    """

    # Draw the groups of a batch at random, or take all in order.
    random_groups = True
    # The pass ends when one group is used up; otherwise it goes on with the groups that remain.
    ends_with_first_group = True
    # A group smaller than a chunk is filled up by drawing from it again.
    fills_up_small_groups = False

    def __init__(
        self,
        groups: Sequence[Hashable],
        chunk_size: int,
        groups_per_batch: int,
        generator: torch.Generator | None = None,
    ) -> None:
        self.indices: dict[Hashable, list[int]] = {}
        for index, group in enumerate(groups):
            self.indices.setdefault(group, []).append(index)
        if not 1 <= groups_per_batch <= len(self.indices) or chunk_size < 1:
            raise InputError(
                f"{type(self).__name__} cannot put {groups_per_batch} groups of {chunk_size} "
                f"images into a batch: the data has {len(self.indices)} groups. Change "
                "BATCH_SIZE, N_DOMAIN or N_INS under DATALOADER."
            )
        self.chunk_size = chunk_size
        self.groups_per_batch = groups_per_batch
        self.generator = torch.Generator() if generator is None else generator

    def __iter__(self) -> Iterator[int]:
        return iter(self._draw(self.generator))

    def __len__(self) -> int:
        # How many fit depends on the draw: make the coming one with a copy of the generator.
        rehearsal = torch.Generator()
        rehearsal.set_state(self.generator.get_state())
        return len(self._draw(rehearsal))

    def _draw(self, generator: torch.Generator) -> list[int]:
        chunks = {
            group: self._chunks(members, generator)
            for group, members in sorted(self.indices.items())
        }
        chunks = {group: queue for group, queue in chunks.items() if queue}
        if self.ends_with_first_group and len(chunks) < len(self.indices):
            return []
        drawn = []
        while len(chunks) >= self.groups_per_batch:
            names = list(chunks)
            if self.random_groups:
                order = torch.randperm(len(names), generator=generator)[: self.groups_per_batch]
                names = [names[i] for i in order.tolist()]
            for name in names:
                drawn.extend(chunks[name].pop())
                if not chunks[name]:
                    del chunks[name]
            if self.ends_with_first_group and len(chunks) < len(self.indices):
                break
        return drawn

    def _chunks(self, members: list[int], generator: torch.Generator) -> list[list[int]]:
        size = self.chunk_size
        if self.fills_up_small_groups and len(members) < size:
            picks = torch.randint(len(members), (size,), generator=generator)
        else:
            picks = torch.randperm(len(members), generator=generator)
        shuffled = [members[i] for i in picks.tolist()]
        return [shuffled[i : i + size] for i in range(0, len(shuffled) - size + 1, size)]


class RandomDomainSampler(_GroupSampler):
    """Each batch holds ``batch_size / n_domain`` images of each of ``n_domain`` random domains.

    Args:
        data_source: the images.
        batch_size: images in a batch.
        n_domain: domains in a batch; all where not positive.
        generator: source of randomness.

    Raises:
        InputError: ``batch_size`` is not a multiple of ``n_domain``, or there are fewer domains.
    """

    def __init__(
        self,
        data_source: Sequence[Datum],
        batch_size: int,
        n_domain: int,
        generator: torch.Generator | None = None,
    ) -> None:
        domains = [item.domain for item in data_source]
        if n_domain is None or n_domain <= 0:
            n_domain = len(set(domains))
        if batch_size % n_domain != 0:
            raise InputError(
                f"RandomDomainSampler needs a batch size ({batch_size}) that is a multiple of the "
                f"number of domains in a batch ({n_domain}): change BATCH_SIZE or N_DOMAIN"
            )
        super().__init__(domains, batch_size // n_domain, n_domain, generator)


class SeqDomainSampler(_GroupSampler):
    """Each batch holds one domain's images; the domains take turns.

    Args:
        data_source: the images.
        batch_size: images in a batch.
        generator: source of randomness.
    """

    random_groups = False

    def __init__(
        self,
        data_source: Sequence[Datum],
        batch_size: int,
        generator: torch.Generator | None = None,
    ) -> None:
        domains = [item.domain for item in data_source]
        super().__init__(domains, batch_size, len(set(domains)), generator)


class RandomClassSampler(_GroupSampler):
    """Each batch holds ``n_ins`` images of each of ``batch_size // n_ins`` random classes.

    Args:
        data_source: the images.
        batch_size: images in a batch.
        n_ins: images of one class in a batch.
        generator: source of randomness.

    Raises:
        InputError: a batch is smaller than ``n_ins``, or there are too few classes.
    """

    ends_with_first_group = False
    fills_up_small_groups = True

    def __init__(
        self,
        data_source: Sequence[Datum],
        batch_size: int,
        n_ins: int,
        generator: torch.Generator | None = None,
    ) -> None:
        if not 1 <= n_ins <= batch_size:
            raise InputError(
                f"RandomClassSampler needs a batch size ({batch_size}) of at least N_INS "
                f"({n_ins}), and N_INS of at least 1"
            )
        labels = [item.label for item in data_source]
        super().__init__(labels, n_ins, batch_size // n_ins, generator)


_NAMES = (
    "RandomSampler",
    "SequentialSampler",
    "RandomDomainSampler",
    "SeqDomainSampler",
    "RandomClassSampler",
)


def build_sampler(
    sampler_type: str,
    cfg: CfgNode | None = None,
    data_source: Sequence[Datum] | None = None,
    batch_size: int = 32,
    n_domain: int = 0,
    n_ins: int = 16,
    generator: torch.Generator | None = None,
) -> Sampler:
    """The sampler of that name over ``data_source``.

    Args:
        sampler_type: one of the names exported here.
        cfg: not used; part of Dassl's signature.
        data_source: the images.
        batch_size: images in a batch (domain and class samplers).
        n_domain: domains in a batch (RandomDomainSampler).
        n_ins: images of one class in a batch (RandomClassSampler).
        generator: source of randomness.

    Raises:
        InputError: unknown name, or numbers that do not go together.
    """
    check_availability(sampler_type, _NAMES)
    if sampler_type == "RandomSampler":
        return RandomSampler(data_source, generator=generator)
    if sampler_type == "RandomDomainSampler":
        return RandomDomainSampler(data_source, batch_size, n_domain, generator)
    if sampler_type == "SeqDomainSampler":
        return SeqDomainSampler(data_source, batch_size, generator)
    if sampler_type == "RandomClassSampler":
        return RandomClassSampler(data_source, batch_size, n_ins, generator)
    return SequentialSampler(data_source)
