"""The figures of the papers, and how sure each one is."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("figures.csv")

MARKS = {
    "read": "",
    "read or recalled; column mean agrees with the printed average": "*",
    "recalled; column mean agrees with the printed average": "**",
    "recalled": "?",
}
"""The sign behind a published figure, by what the file says of it."""


@dataclass(frozen=True)
class Published:
    """A published figure.

    Attributes:
        value: in percent.
        confidence: how it was taken from the paper, one of MARKS.
        backbone: the CLIP that it was made with.
        epochs: of its training; "" for those of the method's published configuration.
        run_by: who ran it; "" for the paper that it stands in.
        source: where it was read, if not in that paper or its repository.
    """

    value: float
    confidence: str
    backbone: str = ""
    epochs: str = ""
    run_by: str = ""
    source: str = ""

    @property
    def mark(self) -> str:
        return MARKS[self.confidence]


@cache
def published() -> dict[tuple[str, str, str, int, str], Published]:
    """By protocol, method, registered dataset name (or "average"), shots, and metric."""
    with open(FILE, newline="", encoding="utf-8") as file:
        return {
            (row["setting"], row["method"], row["dataset"], int(row["shots"]), row["metric"]): (
                Published(
                    float(row["value"]),
                    *(
                        row[name]
                        for name in ("confidence", "backbone", "epochs", "run_by", "source")
                    ),
                )
            )
            for row in csv.DictReader(file)
        }
