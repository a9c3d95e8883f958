"""Small parts of what methods learn, by their formulas."""

from __future__ import annotations

import torch

from prompting.modules import ChannelwiseMap, scale_apart


def test_value_and_gradient_are_scaled_apart() -> None:
    x = torch.tensor([1.0, -2.0], requires_grad=True)
    y = scale_apart(x, value=0.5, gradient=3.0)
    assert torch.equal(y, torch.tensor([0.5, -1.0]))
    (y * torch.tensor([1.0, 10.0])).sum().backward()
    assert torch.equal(x.grad, torch.tensor([3.0, 30.0]))


def test_a_channelwise_map_starts_as_the_identity_and_computes_in_fp32() -> None:
    x = torch.randn(3, 4, dtype=torch.bfloat16)
    mapped = ChannelwiseMap(4)
    assert torch.equal(mapped(x), x.float())
    with torch.no_grad():
        mapped.scale.mul_(2), mapped.bias.add_(1)
    assert torch.equal(mapped(x), 2 * x.float() + 1)
