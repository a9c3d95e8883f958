"""What a loader draws follows from named numbers alone, whoever built it."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from seeded_loading import ItemSeeds, SeededLoader, base_seed, mix, rebuilt, seeded
from torch.utils.data import DataLoader, Dataset


class Noise(Dataset):
    """Ten items of three random numbers, of the three generators that augmentation draws from."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return index, torch.tensor([random.random(), np.random.rand(), torch.rand(()).item()])


def loader(workers=0, seed=1, stream=0):
    plain = DataLoader(Noise(), batch_size=3, shuffle=True, num_workers=workers, drop_last=True)
    return rebuilt(plain, ItemSeeds(seed, stream), keep_workers=True)


def drawn(loader, epoch=0):
    loader.set_epoch(epoch)
    batches = list(loader)
    return torch.cat([index for index, _ in batches]), torch.cat([noise for _, noise in batches])


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_loader_of_others_is_rebuilt_with_its_batches():
    ours = loader()
    assert (ours.batch_size, ours.drop_last, len(ours)) == (3, True, 3)
    order, noise = drawn(ours)
    assert order.tolist() != sorted(order.tolist())
    assert len(noise.unique()) == noise.numel()


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_and_the_state_outside_change_nothing(workers):
    expected = [drawn(loader(), epoch) for epoch in range(3)]
    assert not same(expected[0], expected[1])
    ours = loader(workers)
    assert ours.persistent_workers
    for epoch in range(3):
        torch.rand(epoch + 1), random.random()
        assert same(drawn(ours, epoch), expected[epoch])
    assert same(drawn(loader(), 2), expected[2])


def test_iterating_leaves_the_state_outside_alone():
    ours = loader()
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    drawn(ours)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before[1:]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_second_pass_in_an_epoch_is_another_one_and_repeatable(workers):
    def passes(workers):
        ours = loader(workers)
        first = drawn(ours, 1)
        again = list(ours)
        second = torch.cat([i for i, _ in again]), torch.cat([n for _, n in again])
        return first, second

    first, second = passes(workers)
    assert same(first, drawn(loader(), 1))
    assert not set(first[1].flatten().tolist()) & set(second[1].flatten().tolist())
    assert same(second, passes(0)[1])


def test_seeds_and_streams_differ():
    expected = drawn(loader())
    assert not same(drawn(loader(seed=2)), expected)
    assert not same(drawn(loader(stream=1)), expected)


def test_seeds_are_the_same_on_every_machine_and_in_every_version():
    assert mix(1, 0, 2, 3) == 3322602670769483112
    assert mix(1, 0, 2, 3) != mix(1, 0, 3, 2)
    torch.manual_seed(5)
    assert (base_seed(3), base_seed(-1)) == (3, 5)
    with seeded(mix(1, 0, 2, 3)):
        assert random.random() == 0.1943796389273289


def test_a_loader_is_given_its_seeds():
    seeds = ItemSeeds(1)
    assert SeededLoader(Noise(), seeds, batch_size=2).seeds is seeds
