"""Figures as tables: text, Markdown, LaTeX and HTML; and one record each for CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tabulate import tabulate

from ..published import methods, settings
from ..published.figures import MARKS
from .summary import AVERAGE, Statistic, label, order_datasets, title

STYLES = {"text": "simple", "markdown": "github", "latex": "latex_booktabs", "html": "html"}
_TITLES = {"base": "base", "new": "new", "harmonic_mean": "H", "accuracy": "accuracy"}


@dataclass(frozen=True)
class Table:
    """A table of words, ready to be laid out."""

    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def format(self, style: str) -> str:
        """The table alone, in one of STYLES."""
        words = 2 if "method" in self.headers else 1
        align = ["left"] * words + ["right"] * (len(self.headers) - words)
        return tabulate(
            self.rows, self.headers, STYLES[style], colalign=align, disable_numparse=True
        )


def _number(value: float | None, sign: bool = False) -> str:
    if value is None:
        return "-"
    return f"{value:+.2f}" if sign else f"{value:.2f}"


def _with_spread(figure: Statistic, spread: str) -> str:
    if figure.mean is None or len(figure.values) < 2:
        return _number(figure.mean)
    return f"{figure.mean:.2f} ± {getattr(figure, spread):.2f}"


def _published(figure: Statistic) -> str:
    if figure.published is None:
        return "-"
    return f"{figure.published.value:.2f}{figure.published.mark}"


def _rows(statistics: Iterable[Statistic]) -> dict[tuple[str, int], list[Statistic]]:
    """The figures of each row: a dataset, in few-shot tables with a number of shots."""
    rows: dict[tuple[str, int], list[Statistic]] = {}
    for figure in statistics:
        rows.setdefault((figure.dataset, figure.shots), []).append(figure)
    return rows


def _of_series(statistics: Sequence[Statistic]) -> dict[tuple[str, str], list[Statistic]]:
    grouped: dict[tuple[str, str], list[Statistic]] = {}
    for figure in statistics:
        grouped.setdefault(figure.series, []).append(figure)
    return grouped


def _row_name(figure: Statistic, protocol: str) -> str:
    name = f"{figure.dataset} (source)" if figure.is_source else figure.dataset
    return f"{name}, {figure.shots} shots" if protocol == "few_shot" and figure.shots else name


def make_tables(protocol: str, statistics: Sequence[Statistic], spread: str) -> list[Table]:
    """All tables of a protocol: one that compares the series, one for each series, and the seeds.

    Args:
        protocol: one of settings.PROTOCOLS.
        statistics: as `summarise` gives them.
        spread: "deviation" or "interval".
    """
    tables = [_comparison(protocol, statistics)]
    for series, figures in _of_series(statistics).items():
        tables.append(_against_paper(protocol, series, figures, spread))
    tables.append(_seeds(protocol, statistics))
    return tables


def _comparison(protocol: str, statistics: Sequence[Statistic]) -> Table:
    """All series side by side: below each other where they have several metrics."""
    if protocol in settings.HALVES:
        return _comparison_of_halves(protocol, statistics)
    series = list(_of_series(statistics))
    means = {(f.dataset, f.shots, f.series): f.mean for f in statistics}
    names = {f.dataset: _row_name(f, "") for f in statistics}
    rows = []
    for dataset in _with_average_last(names):
        counts = {f.shots for f in statistics} if protocol == "few_shot" else {None}
        for shots in sorted(counts, key=lambda count: count or 0):
            name = names[dataset] if shots is None else f"{names[dataset]}, {shots} shots"
            values = [
                means.get((dataset, _shots(each, statistics) if shots is None else shots, each))
                for each in series
            ]
            rows.append([name, *map(_number, values)])
    return Table(title(protocol), ["dataset", *map(label, series)], rows)


def _shots(series: tuple[str, str], statistics: Sequence[Statistic]) -> int:
    """The shots of a series in a table where shots are not counted."""
    return next(f.shots for f in statistics if f.series == series)


def _with_average_last(datasets: Iterable[str]) -> list[str]:
    """As in the papers, the average last."""
    names = set(datasets)
    return order_datasets(names - {AVERAGE}) + sorted(names & {AVERAGE})


def _comparison_of_halves(protocol: str, statistics: Sequence[Statistic]) -> Table:
    means = {(f.dataset, f.series, f.metric): f.mean for f in statistics}
    metrics = list(dict.fromkeys(f.metric for f in statistics))
    rows = [
        [dataset, label(series), *(_number(means.get((dataset, series, m))) for m in metrics)]
        for dataset in _with_average_last(f.dataset for f in statistics)
        for series in _of_series(statistics)
    ]
    headers = ["dataset", "method", *(_TITLES[metric] for metric in metrics)]
    return Table(title(protocol), headers, rows, ["H is the harmonic mean of base and new"])


def _against_paper(
    protocol: str, series: tuple[str, str], figures: Sequence[Statistic], spread: str
) -> Table:
    """Ours with its spread, the paper's figure, and the difference, for every metric."""
    metrics = list(dict.fromkeys(figure.metric for figure in figures))
    named = {metric: _TITLES[metric] for metric in metrics}
    has_paper = any(figure.published for figure in figures)
    headers = ["dataset", *named.values()]
    if has_paper:
        headers += [f"paper {name}" for name in named.values()]
        headers += [f"{name} - paper" for name in named.values()]
    rows, notes = [], []
    for of_row in _rows(figures).values():
        row = [_row_name(of_row[0], protocol), *(_with_spread(f, spread) for f in of_row)]
        if has_paper:
            row += map(_published, of_row)
            row += [_number(f.difference, sign=True) for f in of_row]
        rows.append(row)
        missing = sorted({seed for figure in of_row for seed in figure.missing})
        if missing and of_row[0].dataset != AVERAGE:
            notes.append(f"{rows[-1][0]}: no result of seed {', '.join(missing)}")
        elif missing and of_row[0].mean is None:
            notes.append("no average, since results are missing (--partial averages what is there)")
    several = any(len(f.values) > 1 for f in figures)
    if several and spread == "deviation":
        notes.append("± standard deviation over the seeds")
    elif several:
        notes.append("± half of the 95% interval of the mean over the seeds")
    if saw := methods.find(series[0]).saw:
        notes.append(f"saw {saw}")
    return Table(label(series), headers, rows, [*notes, *_notes_on_published(figures)])


def _notes_on_published(figures: Iterable[Statistic]) -> list[str]:
    """How sure the published figures are, and whose they are where they are not the paper's own."""
    used = [f.published for f in figures if f.published]
    confidences = {each.confidence for each in used}
    notes = [f"{mark} {said}" for said, mark in MARKS.items() if mark and said in confidences]
    notes += [
        f"published figures run by {by}" for by in dict.fromkeys(p.run_by for p in used) if by
    ]
    sources = dict.fromkeys(p.source for p in used if p.source)
    return notes + [f"published figures read from: {source}" for source in sources]


def _seeds(protocol: str, statistics: Sequence[Statistic]) -> Table:
    """The value of every seed."""
    seeds = sorted({seed for figure in statistics for seed in figure.values})
    rows = [
        [
            f"{label(f.series)}, {_row_name(f, protocol)}, {_TITLES[f.metric]}",
            *(_number(f.values.get(seed)) for seed in seeds),
        ]
        for f in statistics
    ]
    return Table("Values by seed", ["", *(f"seed {seed}" for seed in seeds)], rows)


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


def as_text(tables: Sequence[Table], style: str) -> str:
    """Tables under their titles, with their notes, as text, Markdown or LaTeX."""
    heading = {"text": "{}", "markdown": "### {}", "latex": "% {}"}[style]
    note = {"text": "{}", "markdown": "- {}", "latex": "% {}"}[style]
    parts = []
    for table in tables:
        notes = "\n".join(note.format(each) for each in table.notes)
        body = f"{heading.format(table.title)}\n\n{table.format(style)}\n"
        parts.append(body + (f"\n{notes}\n" if notes else ""))
    return "\n".join(parts)
