"""Figures as tables: text, Markdown, LaTeX and HTML."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from tabulate import tabulate

from ..published import methods, settings
from ..published.figures import MARKS
from .against_papers import COMPARED
from .blocks import METRICS, Block, Row, make_blocks
from .statistic import AVERAGE, Statistic, labels, rows_of, title

STYLES = {"text": "simple", "markdown": "github", "latex": "latex_booktabs", "html": "html"}
DIFFERS = "†"
"""The sign behind a published figure whose setting is not ours."""

_BOLD = {"markdown": ("**", "**"), "latex": (r"\textbf{", "}"), "html": ("<b>", "</b>")}
_ESCAPED = ("latex", "html")
_MARKS = ("\ue000", "\ue001")  # around bold words until the style has escaped what is special in it


@dataclass(frozen=True)
class Table:
    """A table of words, ready to be laid out; `best` holds the cells, row and column, of bold ones."""

    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    best: Collection[tuple[int, int]] = ()

    def format(self, style: str) -> str:
        """The table alone, in one of STYLES."""
        words = 2 if self.headers[1:2] == ["method"] else 1
        align = ["left"] * words + ["right"] * (len(self.headers) - words)
        bold = _BOLD.get(style, ("", ""))
        before, behind = _MARKS if style in _ESCAPED else bold
        rows = [
            [
                f"{before}{word}{behind}" if (i, j) in self.best else word
                for j, word in enumerate(row)
            ]
            for i, row in enumerate(self.rows)
        ]
        text = tabulate(rows, self.headers, STYLES[style], colalign=align, disable_numparse=True)
        return text.translate(str.maketrans(dict(zip(_MARKS, bold, strict=True))))


def number(value: float | None, sign: bool = False) -> str:
    """Two decimals; "-" for None."""
    if value is None:
        return "-"
    return f"{value:+.2f}" if sign else f"{value:.2f}"


def with_spread(figure: Statistic | None, spread: str) -> str:
    """The mean, and behind it, of several seeds, their spread."""
    if figure is None or figure.mean is None or len(figure.values) < 2:
        return number(figure and figure.mean)
    return f"{figure.mean:.2f} ± {getattr(figure, spread):.2f}"


def published_words(figure: Statistic | None) -> str:
    """The published figure with its signs."""
    if figure is None or figure.published is None:
        return "-"
    differs = DIFFERS if figure.differs else ""
    return f"{figure.published.value:.2f}{figure.published.mark}{differs}"


def comparison(protocol: str, statistics: Sequence[Statistic], spread: str) -> Table:
    """The series side by side, with the published figures below each, and the best in bold."""
    blocks = make_blocks(protocol, statistics)
    titled = any(block.title for block in blocks)
    rows, best = [], set()
    for block in blocks:
        where = [block.title] if titled else []
        for row in block.rows:
            best |= {
                (len(rows), len(where) + 1 + n) for n, is_best in enumerate(row.best) if is_best
            }
            rows.append([*where, row.name, *(with_spread(f, spread) for f in row.figures)])
            if row.is_published:
                rows.append([*where, f"{row.name}, published", *map(published_words, row.figures)])
    headers = [*(["dataset"] if titled else []), "method", *blocks[0].columns]
    notes = [*notes_on_comparison(blocks, statistics), *_note_on_spread(statistics, spread)]
    return Table(title(protocol, statistics), headers, rows, notes, best)


def notes_on_comparison(blocks: Sequence[Block], statistics: Sequence[Statistic]) -> list[str]:
    """What one must know to read a comparison."""
    notes = []
    if METRICS["harmonic_mean"] in blocks[0].columns:
        notes.append("H is the harmonic mean of base and new")
    rows = {row.name: row for block in blocks for row in block.rows}
    notes += map(note_on_ranking, (row for row in rows.values() if row.transductive))
    if incomplete := without_average(statistics):
        notes.append(
            f"no average of {', '.join(incomplete)}, since results are missing "
            "(--partial averages what is there)"
        )
    return [*notes, *notes_on_published(statistics)]


def without_average(statistics: Sequence[Statistic]) -> list[str]:
    """The names of the series whose average is refused, since results are missing."""
    names = labels(statistics)
    refused = (f for f in statistics if f.dataset == AVERAGE and f.mean is None and f.missing)
    return list(dict.fromkeys(names[f.series] for f in refused))


def note_on_ranking(row: Row) -> str:
    """Why a method is in no ranking."""
    saw = methods.find(row.method).saw or "images that it is tested on"
    return f"{row.name} saw {saw}: not ranked"


def _note_on_spread(figures: Iterable[Statistic], spread: str) -> list[str]:
    if not any(len(figure.values) > 1 for figure in figures):
        return []
    if spread == "deviation":
        return ["± standard deviation over the seeds"]
    return ["± half of the 95% interval of the mean over the seeds"]


def notes_on_published(figures: Sequence[Statistic]) -> list[str]:
    """How sure the published figures are, whose they are where they are not the paper's own, and what
    of our runs differs from their setting."""
    compared = [figure for figure in figures if figure.published]
    used = [figure.published for figure in compared]
    confidences = {each.confidence for each in used}
    notes = [f"{mark} {said}" for said, mark in MARKS.items() if mark and said in confidences]
    for what, attribute in (("run by", "run_by"), ("read from:", "source")):
        values = dict.fromkeys(getattr(each, attribute) for each in used)
        notes += [f"published figures {what} {value}" for value in values if value]
    return [*notes, *_notes_on_differences(compared)]


def _notes_on_differences(compared: Sequence[Statistic]) -> Iterator[str]:
    """What differs, by series; with the datasets where it does not on all of them."""
    for series, name in labels(compared).items():
        of_series = [f for f in compared if f.series == series and f.dataset != AVERAGE] or [
            f for f in compared if f.series == series
        ]
        everywhere = list(dict.fromkeys(f.dataset for f in of_series))
        where: dict[str, dict[str, None]] = {}
        for figure in of_series:
            for what in figure.differs:
                where.setdefault(what, {})[figure.dataset] = None
        for what, datasets in where.items():
            on = f" on {', '.join(datasets)}" if list(datasets) != everywhere else ""
            yield f"{DIFFERS} {name}{on}: {what}"


def tables_of_series(protocol: str, statistics: Sequence[Statistic], spread: str) -> list[Table]:
    """Of every series ours with its spread, the paper's figure, and the difference, by metric."""
    return [
        _against_paper(protocol, name, [f for f in statistics if f.series == series], spread)
        for series, name in labels(statistics).items()
    ]


def _against_paper(protocol: str, name: str, figures: Sequence[Statistic], spread: str) -> Table:
    named = {figure.metric: METRICS[figure.metric] for figure in figures}
    has_paper = any(figure.published for figure in figures)
    headers = ["dataset", *named.values()]
    if has_paper:
        headers += [f"paper {metric}" for metric in named.values()]
        headers += [f"{metric} - paper" for metric in named.values()]
    rows, notes = [], []
    for of_row in rows_of(figures).values():
        row = [_row_name(of_row[0], protocol), *(with_spread(f, spread) for f in of_row)]
        if has_paper:
            row += map(published_words, of_row)
            row += [number(f.difference, sign=True) for f in of_row]
        rows.append(row)
        missing = sorted({seed for figure in of_row for seed in figure.missing})
        if missing and of_row[0].dataset != AVERAGE:
            notes.append(f"{rows[-1][0]}: no result of seed {', '.join(missing)}")
        elif missing and of_row[0].mean is None:
            notes.append("no average, since results are missing (--partial averages what is there)")
    notes += _note_on_spread(figures, spread)
    if saw := methods.find(figures[0].series[0]).saw:
        notes.append(f"saw {saw}")
    notes += _notes_on_settings(protocol, figures)
    return Table(name, headers, rows, [*notes, *notes_on_published(figures)])


def _notes_on_settings(protocol: str, figures: Sequence[Statistic]) -> list[str]:
    """What is to be said of the published settings, of a series that has them."""
    method, variant = figures[0].series
    if variant or method not in methods.names():
        return []
    # what is not as published is told by what differs
    others = {f.dataset for f in figures if any(what.startswith(COMPARED) for what in f.differs)}
    kept = (f.dataset for f in figures if f.dataset not in {AVERAGE, *others})
    datasets = list(dict.fromkeys(kept))
    counts = dict.fromkeys(f.shots or settings.SHOTS for f in figures)
    said = (methods.find(method).notes(protocol, datasets, count) for count in counts)
    return list(dict.fromkeys(note for notes in said for note in notes))


def _row_name(figure: Statistic, protocol: str) -> str:
    name = f"{figure.dataset} (source)" if figure.is_source else figure.dataset
    return f"{name}, {figure.shots} shots" if protocol == "few_shot" and figure.shots else name


def seeds(protocol: str, statistics: Sequence[Statistic]) -> Table:
    """The value of every seed."""
    names = labels(statistics)
    numbers = sorted({seed for figure in statistics for seed in figure.values})
    rows = [
        [
            f"{names[f.series]}, {_row_name(f, protocol)}, {METRICS[f.metric]}",
            *(number(f.values.get(seed)) for seed in numbers),
        ]
        for f in statistics
    ]
    return Table("Values by seed", ["", *(f"seed {seed}" for seed in numbers)], rows)


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
