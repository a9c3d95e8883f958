"""Figures as data: a record each, as JSON and as CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from .statistic import Statistic


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
