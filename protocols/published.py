"""The figures of the papers, and how sure each one is."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("paper_results.csv")

MARKS = {
    "read": "",
    "read or recalled; column mean agrees with the printed average": "*",
    "recalled; column mean agrees with the printed average": "**",
    "recalled": "?",
}
"""The sign behind a published figure, by what the file says of it."""


@dataclass(frozen=True)
class Published:
    """A published figure in percent, and how it was taken from the paper."""

    value: float
    confidence: str

    @property
    def mark(self) -> str:
        return MARKS[self.confidence]


@cache
def published() -> dict[tuple[str, str, str, int, str], Published]:
    """By protocol, method, registered dataset name (or "average"), shots, and metric."""
    with open(FILE, newline="", encoding="utf-8") as file:
        return {
            (row["setting"], row["method"], row["dataset"], int(row["shots"]), row["metric"]): (
                Published(float(row["value"]), row["confidence"])
            )
            for row in csv.DictReader(file)
        }
