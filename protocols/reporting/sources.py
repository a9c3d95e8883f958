"""Where results come from: output roots, and the CSV files of earlier reports."""

from __future__ import annotations

import csv
import math
import re
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..published import methods, settings
from ..records import is_percentage
from .results import ReportError, Result, find_results

_SEED = "seed_"
_METRICS = ("base", "new", "accuracy", "harmonic_mean")
_PLACE = ("protocol", "method", "variant", "dataset", "shots", "metric")


def find_all_results(protocol: str, sources: Sequence[Path]) -> list[Result]:
    """The results of a protocol in all sources; what several have is taken from the first.

    Args:
        protocol: one of settings.PROTOCOLS.
        sources: output roots, and CSV files that `protocols.report` has written.

    Raises:
        ReportError: a source is not there, cannot be read, or contradicts itself.
    """
    found: dict[tuple, Result] = {}
    for source in sources:
        is_csv = source.suffix == ".csv"
        for result in _read(protocol, source) if is_csv else find_results(protocol, source):
            found.setdefault((*result.cell, result.seed), result)
    return list(found.values())


def _read(protocol: str, path: Path) -> Iterator[Result]:
    """The results that the figures of a CSV file were made of, without configurations and curves."""
    try:
        for row in _rows(path):
            if row["protocol"] == protocol:
                yield from _results(path, row)
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise ReportError(
            f"{path} is no CSV file that a report has written ({error}): make it by "
            "`python -m protocols.report all OUTPUT --format csv`"
        ) from error


def _rows(path: Path) -> list[dict[str, str]]:
    """The rows of such a file; a ValueError where it says what no report says."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, strict=True)
        columns, rows = reader.fieldnames or (), list(reader)
    for column in columns:
        if columns.count(column) > 1 or re.match(r"seed_(?!\d+$)", column):
            raise ValueError(f"{column} is no column of it, or there twice")
    known = {
        "protocol": settings.PROTOCOLS,
        "method": {*methods.names(), *methods.ablation_rows()},
        "metric": _METRICS,
    }
    seen: set[tuple] = set()
    for row in rows:
        if None in row or None in row.values():
            raise ValueError(f"a row has not the {len(columns)} cells of the first one")
        if wrong := [column for column in known if row[column] not in known[column]]:
            raise ValueError(f"there is no {wrong[0]} {row[wrong[0]]!r}")
        place = tuple(row[column] for column in _PLACE)
        if place in seen:
            raise ValueError(f"it has two rows of {', '.join(filter(None, place))}")
        seen.add(place)
    return rows


def _results(path: Path, row: dict[str, str]) -> Iterator[Result]:
    metric, name = row["metric"], row["method"]
    if metric == "harmonic_mean" or row["dataset"] == "average":  # made of the others
        return
    ablated = methods.ablation_rows().get(name) if row["protocol"] == "ablation" else None
    given = {
        int(column.removeprefix(_SEED)): float(text)
        for column, text in row.items()
        if column.startswith(_SEED) and text
    }
    if wrong := [each for each in given.values() if not is_percentage(each)]:
        raise ValueError(f"an accuracy of {wrong[0]}")
    if given and not math.isclose(statistics.fmean(given.values()), float(row["mean"])):
        raise ValueError(
            f"{row['mean']} is not the mean of the seeds of {name} on {row['dataset']}"
        )
    dataset = settings.find_dataset(row["dataset"])
    for seed, accuracy in given.items():
        yield Result(
            method=ablated.method if ablated else name,
            variant=row["variant"],
            dataset=dataset,
            shots=int(row["shots"]),
            classes="all" if metric == "accuracy" else metric,
            seed=seed,
            accuracy=accuracy,
            folder=path,
            content={},
            row=name if ablated else "",
            config=row["variant"],
        )
