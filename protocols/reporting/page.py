"""A report as one HTML file that opens from disk: tables, notes and plots, nothing fetched."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterable, Sequence

from matplotlib import rc_context
from matplotlib.figure import Figure

from .tables import Table

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 0.5rem 0; }
th, td { border-bottom: 1px solid #ddd; padding: 0.15rem 0.7rem; }
th { border-bottom: 2px solid #888; }
.scroll { overflow-x: auto; }
.notes { color: #555; font-size: 90%; }
svg { max-width: 100%; height: auto; }
"""


def _svg(figure: Figure) -> str:
    file = io.StringIO()
    with rc_context({"svg.hashsalt": "page"}):  # the same results give the same page, ids and all
        figure.savefig(file, format="svg", metadata={"Date": None})
    return re.sub(r"^.*?(?=<svg)", "", file.getvalue(), flags=re.DOTALL)


def _section(table: Table) -> str:
    notes = "<br>".join(html.escape(note) for note in table.notes)
    return (
        f"<h3>{html.escape(table.title)}</h3>\n"
        f'<div class="scroll">{table.format("html")}</div>\n<p class="notes">{notes}</p>\n'
    )


def make_page(
    parts: Sequence[tuple[str, Sequence[Table], Iterable[tuple[str, Figure]]]], title: str
) -> str:
    """The page: for every protocol its name, tables and plots."""
    body = []
    for name, tables, plots in parts:
        body.append(f"<h2>{html.escape(name)}</h2>\n")
        body += map(_section, tables)
        body += (
            f"<figure>{_svg(figure)}<figcaption>{html.escape(name)}</figcaption></figure>\n"
            for name, figure in plots
        )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style></head>\n"
        f"<body><h1>{html.escape(title)}</h1>\n{''.join(body)}</body></html>\n"
    )
