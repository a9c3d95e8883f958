"""Gaussian-weighted averaging against its formula."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prompting.averaging import GaussianAverage, gaussian_weights
from prompting.errors import InputError


@given(epochs=st.integers(1, 60), mean=st.floats(1, 60), std=st.floats(0.5, 40))
def test_weights_are_a_normalised_gaussian(epochs: int, mean: float, std: float) -> None:
    mean = min(mean, epochs)
    weights = gaussian_weights(epochs, mean, std)
    assert len(weights) == epochs
    assert math.isclose(sum(weights), 1, rel_tol=1e-12)
    peak = weights[round(mean) - 1]
    for epoch, weight in enumerate(weights, start=1):
        density = math.exp(((round(mean) - mean) ** 2 - (epoch - mean) ** 2) / (2 * std**2))
        assert math.isclose(weight, peak * density, rel_tol=1e-9, abs_tol=1e-300)


def test_average_is_the_weighted_sum_and_part_of_it_is_renormalised() -> None:
    history = [torch.tensor([float(epoch)]) for epoch in (1, 2, 3)]
    average = GaussianAverage(epochs=3, mean=2, std=1)
    tail = math.exp(-0.5)
    average.update(1, {"ctx": history[0]})
    average.update(2, {"ctx": history[1]})
    assert average.average()["ctx"].item() == pytest.approx((tail * 1 + 2) / (tail + 1))
    average.update(3, {"ctx": history[2]})
    assert average.average()["ctx"].item() == pytest.approx(2)


def test_what_was_added_does_not_change_with_the_prompts() -> None:
    average = GaussianAverage(epochs=2, mean=1, std=10)
    prompt = torch.ones(2)
    average.update(1, {"ctx": prompt})
    prompt.zero_()
    assert torch.equal(average.average()["ctx"], torch.ones(2))


def test_an_average_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no epoch so far"):
        GaussianAverage(epochs=2, mean=1, std=1).average()


def test_a_gaussian_of_any_width_has_weights_or_is_refused() -> None:
    assert gaussian_weights(3, 2, 1e-300) == [0, 1, 0]
    for mean, std in ((2.5, 1e-300), (1e30, 1.0), (2.5, 5e-324)):
        with pytest.raises(InputError, match="gives no weight to any"):
            gaussian_weights(3, mean, std)
