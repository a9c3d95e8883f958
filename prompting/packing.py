"""Suffixes of a few tokens each, packed into rows of tokens that attention handles well."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# rows are at least as long as this: shorter ones make attention slow, longer ones make it wasteful
ROW = 32


class PackedRows:
    """The suffixes of C classes in R rows of T tokens, each class whole within one row.

    suffix, position: (R * T,) the packed tokens' entries in what was packed, and their positions in the
    prompt; padding repeats a token. place: (N,) where each entry was put. last: (C,) the place of each
    class's EOT. own: (R, T, T), true where a token sees another: its own class up to itself.
    needed: the number of positions that the longest prompt takes.

    Args:
        suffix, position: (N,) entries of all classes, class after class, and their positions.
        last: (C,) index of each class's last entry.
    """

    def __init__(self, suffix: Tensor, position: Tensor, last: Tensor) -> None:
        device = last.device
        ends = last.cpu()
        lengths = ends.diff(prepend=torch.tensor([-1]))
        shortest = max(ROW, int(lengths.max()))
        row, rows = min(
            ((row, _pack(lengths.tolist(), row)) for row in range(shortest, shortest * 3 // 2)),
            key=lambda packed: packed[0] * len(packed[1]),
        )
        self.count, self.length = len(rows), row
        self.needed = int(position.max()) + 1
        source = torch.zeros(len(rows), row, dtype=torch.long)
        owner = torch.full((len(rows), row), -1)
        place = torch.empty(len(suffix), dtype=torch.long)
        for index, classes in enumerate(rows):
            tokens = torch.cat(
                [torch.arange(ends[c] + 1 - lengths[c], ends[c] + 1) for c in classes]
            )
            source[index, : len(tokens)] = tokens
            owner[index, : len(tokens)] = torch.repeat_interleave(
                torch.tensor(classes), lengths[classes]
            )
            place[tokens] = index * row + torch.arange(len(tokens))
        self.place = place.to(device)
        self.last = self.place[last]
        source = source.flatten().to(device)
        self.suffix, self.position = suffix[source], position[source]
        self.own = (owner[:, :, None] == owner[:, None]).tril().to(device)
        self._biases: dict[tuple[int, torch.dtype], tuple[Tensor, Tensor]] = {}

    def biases(self, shared: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """What attention adds to its scores: 0 where a token sees another, else minus infinity.

        Packed tokens see all shared ones, (R, 1, T, shared + T); shared ones see themselves and what
        precedes them, (shared, shared).
        """
        if (shared, dtype) not in self._biases:
            prefix = self.own.new_ones(self.count, self.length, shared)
            sees = torch.cat([prefix, self.own], dim=2)[:, None]
            causal = self.own.new_ones(shared, shared).tril()
            self._biases[shared, dtype] = _bias(sees, dtype), _bias(causal, dtype)
        return self._biases[shared, dtype]


def _bias(sees: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.zeros(sees.shape, dtype=dtype, device=sees.device).masked_fill(~sees, -torch.inf)


def _pack(lengths: Sequence[int], row: int) -> list[list[int]]:
    """Indices of the lengths in rows that hold at most `row` (best fit, the longest first)."""
    rows: list[list[int]] = []
    with_room: list[list[int]] = [[] for _ in range(row + 1)]
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        length = lengths[index]
        room = next((room for room in range(length, row + 1) if with_room[room]), row)
        if with_room[room]:
            place = with_room[room].pop()
        else:
            place = len(rows)
            rows.append([])
        rows[place].append(index)
        with_room[room - length].append(place)
    return rows
