"""What leaves a report: figures as JSON and as CSV, plots as files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .results import ReportError
from .statistic import Statistic

if TYPE_CHECKING:
    from .style import Plot


def record(protocol: str, figure: Statistic) -> dict[str, Any]:
    """All of a figure, at full precision, as plain values."""
    paper = figure.published
    return {
        "protocol": protocol,
        "method": figure.series[0],
        "variant": figure.series[1],
        "dataset": figure.dataset,
        "shots": figure.shots,
        "metric": figure.metric,
        "mean": figure.mean,
        "standard_deviation": figure.deviation,
        "interval_95": figure.interval,
        "seeds": {str(seed): value for seed, value in sorted(figure.values.items())},
        "missing": list(figure.missing),
        "source": figure.is_source,
        "published": paper and paper.value,
        "published_confidence": paper and paper.confidence,
        "published_backbone": paper and paper.backbone,
        "published_epochs": paper and paper.epochs,
        "published_run_by": paper and paper.run_by,
        "published_source": paper and paper.source,
        "difference": figure.difference,
        "differs": "; ".join(figure.differs),
    }


def as_json(records: Sequence[dict[str, Any]]) -> str:
    """Records as a JSON list."""
    return json.dumps(records, indent=1)


def as_csv(records: Sequence[dict[str, Any]]) -> str:
    """Records as CSV, with a column a seed."""
    seeds = sorted({seed for each in records for seed in each["seeds"]}, key=int)
    text = io.StringIO()
    columns = [name for name in records[0] if name not in ("seeds", "missing")]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*columns, *(f"seed_{seed}" for seed in seeds), "missing"])
    for each in records:
        values = [each["seeds"].get(seed) for seed in seeds]
        writer.writerow([*(each[name] for name in columns), *values, "; ".join(each["missing"])])
    return text.getvalue()


def rows_as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of the same columns as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_report(text: str, path: Path | None) -> None:
    """Into a file, or onto the screen.

    Raises:
        ReportError: the file cannot be written.
    """
    if path is None:
        print(text)
        return
    # they bring torch, which the screen does not need
    from prompting.errors import InputError
    from prompting.files import write_atomically

    try:
        with _written(path):
            write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    except InputError as error:
        raise ReportError(str(error)) from error


def write_plots(folder: Path, plots: Iterable[Plot]) -> None:
    """Each plot as PNG, with the CSV of its numbers beside it.

    Raises:
        ReportError: the folder is none, or cannot be written into.
    """
    with _written(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for plot in plots:
        with _written(folder):
            plot.figure.savefig(folder / f"{plot.name}.png", dpi=150)
        write_report(rows_as_csv(plot.numbers), folder / f"{plot.name}.csv")


@contextmanager
def _written(path: Path) -> Iterator[None]:
    """Name what cannot be written, and why."""
    try:
        yield
    except OSError as error:
        raise ReportError(
            f"{path} cannot be written: {error.strerror or error}. Choose another place"
        ) from error
