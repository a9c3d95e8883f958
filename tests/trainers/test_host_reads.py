"""A step waits for the device once, for the values that are logged: what is read makes a GPU idle."""

from __future__ import annotations

import pytest
import torch

from benchmarks import launches

from .conftest import STEPPING

CPU = torch.device("cpu")


@pytest.mark.parametrize("method", STEPPING)
def test_a_step_reads_once(method: str, build) -> None:
    trainer = build(method)
    trainer.num_batches, trainer.batch_idx, trainer.epoch = 99, 0, 0
    trainer.set_model_mode("train")
    batch = next(iter(trainer.train_loader_x))
    trainer.forward_backward(batch)
    counts = launches.count(lambda: trainer.forward_backward(batch), CPU)
    assert dict(counts.waits) == {"tolist": 1}
    assert counts.launches > 100


@pytest.mark.parametrize(
    "read",
    [
        lambda x: x.sum().item(),
        lambda x: x.tolist(),
        lambda x: float(x.sum()),
        lambda x: 1 if x.sum() > 0 else 2,
        lambda x: [0, 1, 2, 3][x.argmax()],
        lambda x: x.cpu(),
        lambda x: x.numpy(),
        lambda x: x.nonzero(),
        lambda x: x[x > 0],
        lambda x: torch.where(x > 0),
        lambda x: x.masked_select(x > 0),
        lambda x: torch.repeat_interleave(torch.arange(4), x.long()),
        lambda x: x.unique(),
    ],
)
def test_every_way_to_read_is_counted(read) -> None:
    x = torch.tensor([1.0, 2.0, 0.0, 1.0])
    assert sum(launches.count(lambda: read(x), CPU).waits.values()) == 1


def test_what_stays_on_the_device_is_not_counted() -> None:
    x, rows = torch.randn(4, 4), torch.tensor([0, 2])

    def step() -> torch.Tensor:
        y = x[rows] @ x + x[:2].view(2, 4)
        return y.relu().softmax(1).argmax(1)

    counts = launches.count(step, CPU)
    assert not counts.waits
    assert counts.launches == 6  # index, mm, add, relu, softmax, argmax; no views
