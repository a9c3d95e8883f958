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


FULL_SIZE = "ViT-B/16"
_WORKS = {
    "learned": ("learned numbers", 1, 0),
    "checkpoint_bytes": ("file (KB)", 1e3, 0),
    "train_step": ("step (s)", 1, 2),
    "peak_memory": ("memory (MB)", 1e6, 0),
}
"""Title, divisor and decimals by the name of a measurement in the file of benchmarks."""


def costs_of_benchmarks(path: Path, classes: int, precision: str) -> list[Cost]:
    """The same from a CSV file of benchmarks, of one number of classes and one precision, as far as it
    has them.

    Raises:
        ReportError: there is no such file, or it is another one.
    """
    found: dict[str, dict[str, float]] = {}
    try:
        with open(path, newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                fits = row["classes"] == str(classes) and row["precision"] == precision
                if row["work"] in _WORKS and fits and row["ours"]:
                    found.setdefault(row["work"], {}).setdefault(row["method"], float(row["ours"]))
    except (OSError, KeyError, ValueError) as error:
        raise ReportError(f"{path} is no CSV file of `benchmarks.report` ({error})") from error
    return [
        Cost(
            f"full-size-{work}",
            f"{FULL_SIZE} {title}",
            {method: value / unit for method, value in found[work].items()},
            decimals,
        )
        for work, (title, unit, decimals) in _WORKS.items()
        if work in found
    ]
