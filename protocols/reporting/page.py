"""A report as one HTML file that opens from disk: plots, tables as papers print them, and what is long
folded away. Nothing is fetched."""

from __future__ import annotations

import html
import io
import re
import urllib.parse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from matplotlib import rc_context
from matplotlib.figure import Figure
from tabulate import tabulate

from .blocks import Block, Row
from .exports import rows_as_csv
from .style import Plot
from .tables import Table, number, published_words

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 0.5rem 0; }
th, td { border-bottom: 1px solid #ddd; padding: 0.15rem 0.6rem; white-space: nowrap; }
th { border-bottom: 2px solid #888; }
.blocks { display: flex; flex-wrap: wrap; gap: 1rem 2.5rem; align-items: flex-start; }
.blocks > div, .scroll { overflow-x: auto; max-width: 100%; }
h4 { margin: 0.5rem 0 0; }
small { color: #666; font-size: 80%; }
.up { color: #16762c; }
.down { color: #b3261e; }
.notes, .paper { color: #555; font-size: 90%; }
.outside { font-style: italic; }
.warnings { background: #fff4d6; border-left: 4px solid #e0a100; padding: 0.5rem 1rem; }
summary { cursor: pointer; font-weight: 600; margin: 0.7rem 0; }
figure { margin: 1rem 0; }
figcaption { font-size: 90%; color: #555; }
svg { max-width: 100%; height: auto; }
"""


@dataclass(frozen=True)
class Section:
    """What a page says of one protocol, in this order; the tables and plots of `folded` are closed.

    Attributes:
        title: of the protocol's table.
        warnings: of runs that did not train.
        plots: what people look for first.
        blocks: the comparison, with `notes` below.
        folded: by their heading.
    """

    title: str
    warnings: Sequence[str]
    plots: Sequence[Plot]
    blocks: Sequence[Block]
    notes: Sequence[str]
    folded: Sequence[tuple[str, Sequence[Table | Plot]]]


def make_page(sections: Sequence[Section], title: str) -> str:
    """The page, with a table of contents."""
    contents = [_contents(number_, each) for number_, each in enumerate(sections, start=1)]
    bodies = [_section(number_, each) for number_, each in enumerate(sections, start=1)]
    return frame(title, f"<nav><ul>{''.join(contents)}</ul></nav>\n{''.join(bodies)}")


def frame(title: str, body: str) -> str:
    """A whole HTML file of a body."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style></head>\n"
        f"<body><h1>{html.escape(title)}</h1>\n{body}</body></html>\n"
    )


def _parts(section: Section) -> list[str]:
    """The headings within a section."""
    opening = ["Plots"] if section.plots else []
    return [*opening, "Comparison", *(heading for heading, _ in section.folded)]


def _contents(number_: int, section: Section) -> str:
    links = ", ".join(
        f'<a href="#{_anchor(number_, part)}">{html.escape(part.lower())}</a>'
        for part in _parts(section)
    )
    return f'<li><a href="#{number_}">{html.escape(section.title)}</a>: {links}</li>\n'


def _anchor(number_: int, part: str) -> str:
    return f"{number_}-{part.lower().replace(' ', '-')}"


def _section(number_: int, section: Section) -> str:
    parts = [f'<h2 id="{number_}">{html.escape(section.title)}</h2>\n', _warnings(section.warnings)]
    if section.plots:
        parts.append(f'<h3 id="{_anchor(number_, "Plots")}">Plots</h3>\n')
        parts += map(shown_plot, section.plots)
    parts.append(f'<h3 id="{_anchor(number_, "Comparison")}">Comparison</h3>\n')
    parts.append(f'<div class="blocks">{"".join(map(_block, section.blocks))}</div>\n')
    parts.append(shown_notes([*_notes_on_blocks(section.blocks), *section.notes]))
    for heading, content in section.folded:
        inside = (
            shown_plot(each) if isinstance(each, Plot) else _table(each, heading)
            for each in content
        )
        parts.append(
            f'<details id="{_anchor(number_, heading)}"><summary>{html.escape(heading)}</summary>\n'
            f"{''.join(inside)}</details>\n"
        )
    return "".join(parts)


def _warnings(lines: Sequence[str]) -> str:
    if not lines:
        return ""
    inside = "<br>".join(map(html.escape, lines))
    return (
        '<details class="warnings"><summary>Runs that may not have trained: '
        f"{len(lines)}</summary>{inside}</details>\n"
    )


def shown_notes(notes: Iterable[str]) -> str:
    """Notes, a line each."""
    return f'<p class="notes">{"<br>".join(map(html.escape, notes))}</p>\n'


def _notes_on_blocks(blocks: Sequence[Block]) -> list[str]:
    rows = [row for block in blocks for row in block.rows]
    notes = ["Bold: the best of a column"]
    if any(value is not None for row in rows for value in row.differences):
        notes.append("Behind a figure: points above or below zero-shot CLIP")
    return notes


def _block(block: Block) -> str:
    """A block of a comparison; the rows that are in no ranking stand below the others."""
    rows = []
    for outside, group in groupby(block.rows, key=lambda row: row.transductive):
        if outside:
            rows.append(['<span class="outside">not ranked:</span>', *[""] * len(block.columns)])
        for row in group:
            rows.append([html.escape(row.name), *_cells(row)])
            if row.is_published:
                words = [html.escape(published_words(figure)) for figure in row.figures]
                named = ["published", *words]
                rows.append([f'<span class="paper">{word}</span>' for word in named])
    headers = ["method", *map(html.escape, block.columns)]
    align = ["left"] + ["right"] * len(block.columns)
    text = tabulate(rows, headers, "unsafehtml", colalign=align, disable_numparse=True)
    heading = f"<h4>{html.escape(block.title)}</h4>" if block.title else ""
    return f"<div>{heading}{text}</div>\n"


def _cells(row: Row) -> Iterable[str]:
    for figure, difference, best in zip(row.figures, row.differences, row.best, strict=True):
        text = number(figure and figure.mean)
        text = f"<b>{text}</b>" if best else text
        if difference is not None:
            kind = "up" if difference >= 0 else "down"
            text += f' <small class="{kind}">{difference:+.1f}</small>'
        yield text


def _table(table: Table, heading: str) -> str:
    above = "" if table.title == heading else f"<h4>{html.escape(table.title)}</h4>\n"
    return f'{above}<div class="scroll">{table.format("html")}</div>\n{shown_notes(table.notes)}'


def shown_plot(plot: Plot) -> str:
    """A plot with its title and the CSV of its numbers."""
    numbers = urllib.parse.quote(rows_as_csv(plot.numbers))
    link = f'<a download="{plot.name}.csv" href="data:text/csv,{numbers}">its numbers as CSV</a>'
    caption = f"<figcaption>{html.escape(plot.title)} ({link})</figcaption>"
    return f'<figure id="plot-{plot.name}">{_svg(plot.figure)}{caption}</figure>\n'


def _svg(figure: Figure) -> str:
    file = io.StringIO()
    # the same results give the same page, ids and all; letters are the browser's
    with rc_context({"svg.hashsalt": "page", "svg.fonttype": "none"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    return re.sub(r"^.*?(?=<svg)", "", file.getvalue(), flags=re.DOTALL)
