"""Figures of `benchmarks.run` as a table in Markdown and as CSV.

python -m benchmarks.report figures.json [more.json ...] --csv docs/benchmarks.csv
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows, as in the JSON, as a table in Markdown."""
    shown = [
        {
            **{key: row[key] for key in ("method", "work")},
            "classes": row["classes"] or "",
            **{key: row[key] for key in ("batch", "precision")},
            **{key: _figure(row[key], row["unit"]) for key in ("ours", "plain", "floor")},
            "times faster": _ratio(row["times_faster"], 4),
            "times the floor": _ratio(row["times_floor"], 3),
            "step": row.get("step", ""),
            "launches": _count(row.get("launches")),
            "waits": _count(row.get("waits")),
            "note": row["note"],
        }
        for row in rows
    ]
    return tabulate(shown, headers="keys", tablefmt="github", disable_numparse=True)


def _figure(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    return f"{value / 1e6:,.2f} MB" if unit == "bytes" else f"{value:.3g} {unit}"


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _ratio(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}g}"


def read_rows(path: Path) -> list[Mapping[str, Any]]:
    """The rows of a file that benchmarks.run wrote.

    Raises:
        ValueError: it is none.
    """
    try:
        return json.loads(path.read_text())["rows"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is no file of figures ({error!r}): make one by `python -m benchmarks.run --json`"
        ) from error


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("figures", nargs="+", type=Path, help="files that benchmarks.run wrote")
    parser.add_argument("--csv", type=Path, help="where all rows go as CSV")
    args = parser.parse_args()
    try:
        rows = [row for path in args.figures for row in read_rows(path)]
    except ValueError as error:
        parser.error(str(error))
    if args.csv:
        with args.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    print(table(rows))


if __name__ == "__main__":
    main()
