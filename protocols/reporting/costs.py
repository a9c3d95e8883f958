"""What methods cost: read from what runs have left, and from the file of benchmarks."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from ..records import ADVICE
from .results import ReportError, Result

_PROBE = "probe/"  # tensors beside what is learned, in the file to share
_FILES = "*/*.safetensors"


@dataclass(frozen=True)
class Cost:
    """A kind of cost with its value by method; lower is better.

    Attributes:
        name: for files.
        title: what it is of, with its unit.
        values: by method, without those of which nothing is known.
        decimals: to be shown.
    """

    name: str
    title: str
    values: Mapping[str, float]
    decimals: int = 0

    def text(self, method: str) -> str:
        """The value of a method in words; "-" where nothing is known."""
        value = self.values.get(method)
        return "-" if value is None else f"{value:,.{self.decimals}f}"


def costs_of_runs(results: Sequence[Result]) -> list[Cost]:
    """Numbers learned and size of the file to share, of training runs; of several the least.

    Raises:
        ReportError: a file that a run has left cannot be read.
    """
    files: dict[str, list[Path]] = {}
    for result in results:
        files.setdefault(result.method, []).extend(sorted(result.folder.glob(_FILES)))
    measured = {
        "learned numbers": _learned_numbers,
        "file (KB)": lambda path: path.stat().st_size / 1e3,
    }
    return [
        Cost(
            title.partition(" ")[0],
            title,
            {method: min(map(measure, paths)) for method, paths in files.items() if paths},
        )
        for title, measure in measured.items()
    ]


def _learned_numbers(path: Path) -> int:
    try:
        with safe_open(path, "numpy") as file:
            names = [name for name in file.keys() if not name.startswith(_PROBE)]  # noqa: SIM118
            return sum(math.prod(file.get_slice(name).get_shape()) for name in names)
    except (OSError, SafetensorError) as error:
        raise ReportError(f"{path} cannot be read: {error}. {ADVICE}") from error


_COLUMNS = {
    "learned_parameters": ("learned numbers", 1, 0),
    "file_bytes": ("file (KB)", 1e3, 0),
    "step_seconds_50_equal_batch": ("step (s)", 1, 2),
    "peak_memory_50_equal_batch": ("memory (MB)", 1e6, 0),
}
"""Title, divisor and decimals by column of the file of benchmarks."""


def read_benchmarks(path: Path) -> dict[str, dict[str, str]]:
    """The rows by method of the file that `benchmarks.methods` writes; none where there is no file."""
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        return {row["method"]: row for row in csv.DictReader(file, strict=True)}


def costs_of_benchmarks(path: Path) -> tuple[list[Cost], str]:
    """The same, step time and memory at the size of ViT-B/16, as far as benchmarks have them; and how
    they were measured, in words.

    Args:
        path: the file that `benchmarks.methods` writes.

    Raises:
        ReportError: there is no such file, or it is another one.
    """
    try:
        rows = read_benchmarks(path)
        if not rows:
            raise ValueError("there is no such file, or no row in it")
        costs = [
            Cost(
                f"full-size-{column.partition('_')[0]}",
                f"ViT-B/16 {title}",
                {name: float(row[column]) / unit for name, row in rows.items() if row.get(column)},
                decimals,
            )
            for column, (title, unit, decimals) in _COLUMNS.items()
        ]
        ways = {
            f"{row['precision']}, {row['clock']} clock, {row['threads']} threads, {row['device']}": None
            for row in rows.values()
        }
    except (OSError, KeyError, ValueError, csv.Error) as error:
        raise ReportError(f"{path} is no CSV file of `benchmarks.methods` ({error})") from error
    measured = f"50 classes, one batch for all; {'; '.join(ways)}"
    return [cost for cost in costs if cost.values], measured
