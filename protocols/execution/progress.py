"""How far a training is, read from what it prints."""

from __future__ import annotations

import re
from dataclasses import dataclass

_BATCH = re.compile(r"^epoch \[(\d+)/(\d+)\] batch \[(\d+)/(\d+)\].*? loss (\S+).* eta (\S+)", re.M)


@dataclass(frozen=True)
class Progress:
    """The batch that a training is at: numbers from 1, and in words the loss and the time left."""

    epoch: int
    epochs: int
    batch: int
    batches: int
    loss: str
    left: str

    @property
    def steps_done(self) -> int:
        """Of `steps`."""
        return (self.epoch - 1) * self.batches + self.batch

    @property
    def steps(self) -> int:
        """Of the whole training."""
        return self.epochs * self.batches


def last_progress(text: str) -> Progress | None:
    """The last batch that a text tells of; None where it tells of none."""
    *_, last = (None, *_BATCH.finditer(text))
    if last is None:
        return None
    *numbers, loss, left = last.groups()
    return Progress(*map(int, numbers), loss, left)
