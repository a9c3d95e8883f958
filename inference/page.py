"""A page of sections as one HTML file that opens from disk; nothing is fetched."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TextIO

from matplotlib.figure import Figure
from tabulate import tabulate

STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; background: #f8fafc; color: #0f172a;
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
header, main, footer { max-width: 66rem; margin: 0 auto; padding: 0 1.5rem; }
header { padding-top: 2.5rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 0.25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 0 0 0.5rem; }
p { margin: 0.4rem 0; max-width: 48rem; }
.about { color: #475569; overflow-wrap: anywhere; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: 0.75rem;
  margin: 1.5rem 0; }
.card { background: #fff; border: 1px solid #e2e8f0; border-radius: 0.6rem; padding: 0.7rem 0.9rem; }
.card b { display: block; font-size: 1.5rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.card span { display: block; color: #64748b; font-size: 0.8rem; line-height: 1.35; }
nav { display: flex; flex-wrap: wrap; gap: 0.3rem 1.1rem; margin: 0 0 1.25rem; font-size: 0.9rem; }
a { color: #2563eb; text-decoration: none; }
a:hover { text-decoration: underline; }
section { background: #fff; border: 1px solid #e2e8f0; border-radius: 0.6rem; margin: 0 0 1.25rem;
  padding: 1.1rem 1.3rem 1.3rem; }
figure { margin: 0.8rem 0 0; overflow-x: auto; }
svg { display: block; max-width: 100%; height: auto; }
.scroll { overflow-x: auto; margin-top: 0.8rem; }
table { border-collapse: collapse; font-size: 0.88rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 0.25rem 0.9rem 0.25rem 0; border-bottom: 1px solid #f1f5f9;
  white-space: nowrap; }
th { color: #64748b; font-weight: 600; border-bottom-color: #cbd5e1; }
summary { cursor: pointer; color: #2563eb; margin-top: 0.9rem; font-size: 0.9rem; }
.note { color: #64748b; font-size: 0.88rem; }
footer { color: #64748b; font-size: 0.85rem; padding-bottom: 2.5rem; }
@media (max-width: 40rem) { svg { max-width: none; } }
@media print { body { background: #fff; } section { break-inside: avoid; } nav { display: none; } }
"""


@dataclass(frozen=True)
class Table:
    """Rows under headers; a folded one is opened by a click on its title."""

    headers: Sequence[str]
    rows: Sequence[Sequence[object]]
    title: str = ""

    def html(self) -> str:
        """The table in HTML."""
        cells = [[_text(cell) for cell in row] for row in self.rows]
        body = tabulate(cells, list(map(_text, self.headers)), "unsafehtml", disable_numparse=True)
        table = f'<div class="scroll">{body}</div>'
        if not self.title:
            return table
        return f"<details><summary>{_text(self.title)}</summary>{table}</details>"

    def write_csv(self, file: TextIO) -> None:
        """The table as CSV."""
        csv.writer(file, lineterminator="\n").writerows([self.headers, *self.rows])


@dataclass(frozen=True)
class Section:
    """A part of a page.

    said: paragraphs above the figures. figure: with its name, by which it is kept as PNG too. notes:
    paragraphs below.
    """

    title: str
    said: Sequence[str] = ()
    figure: tuple[str, Figure] | None = None
    tables: Sequence[Table] = ()
    notes: Sequence[str] = field(default_factory=tuple)

    @property
    def anchor(self) -> str:
        """What links to it."""
        return re.sub(r"\W+", "-", self.title.lower())

    def html(self) -> str:
        """The section in HTML."""
        parts = [f'<section id="{self.anchor}"><h2>{_text(self.title)}</h2>']
        parts += [f"<p>{_text(each)}</p>" for each in self.said]
        if self.figure:
            parts.append(f"<figure>{as_svg(self.figure[1])}</figure>")
        parts += [table.html() for table in self.tables]
        parts += [f'<p class="note">{_text(each)}</p>' for each in self.notes]
        return "\n".join([*parts, "</section>"])


def _text(value: object) -> str:
    return html.escape(str(value))


def as_svg(figure: Figure) -> str:
    """A figure as it stands in a page, without what belongs to a file of its own."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    return re.sub(r"^.*?(?=<svg)", "", file.getvalue(), flags=re.DOTALL)


def as_png(figure: Figure) -> bytes:
    """A figure as a picture, twice as fine as a page shows it."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=160)
    return file.getvalue()


def make_page(
    title: str,
    about: str,
    cards: Iterable[tuple[str, str]],
    sections: Sequence[Section],
    footer: str,
) -> str:
    """The whole page.

    Args:
        title, about: the heading, and a line below it.
        cards: figures that come first, each with what it is.
        sections: in their order.
        footer: the last line.
    """
    links = "".join(f'<a href="#{each.anchor}">{_text(each.title)}</a>' for each in sections)
    shown = "".join(
        f'<div class="card"><b>{_text(figure)}</b><span>{_text(what)}</span></div>'
        for figure, what in cards
    )
    body = "\n".join(each.html() for each in sections)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(title)}</title>\n<style>{STYLE}</style></head>\n<body>\n"
        f'<header><h1>{_text(title)}</h1><p class="about">{_text(about)}</p>\n'
        f'<div class="cards">{shown}</div><nav>{links}</nav></header>\n'
        f"<main>\n{body}\n</main>\n<footer>{_text(footer)}</footer>\n</body></html>\n"
    )
