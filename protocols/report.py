"""The table of a protocol, made of the results under an output root.

    python -m protocols.report base2new output
    python -m protocols.report few_shot output --out few_shot.md
    python -m protocols.report all output --out report.html
    python -m protocols.report base2new output --plots plots --baseline ZeroshotCLIP

Published figures stand below ours; the signs behind them say how sure they are, and † that something
differs from their setting. Averages are refused where results are missing, unless --partial is given.
Beside folders, CSV files of earlier reports are read; what several have is taken from the first. The
name of the file says the format, unless --format does.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .published import methods, settings
from .published.settings import UsageError
from .reporting import asked
from .reporting.blocks import make_blocks
from .reporting.exports import as_csv, as_json, record, write_plots, write_report
from .reporting.missing import notes_on_missing
from .reporting.results import ReportError, Result
from .reporting.sources import find_all_results
from .reporting.statistic import Statistic, title
from .reporting.summary import select, summarise
from .reporting.tables import as_text, comparison, notes_on_comparison, seeds, tables_of_series
from .reporting.untrained import warnings

if TYPE_CHECKING:
    from .reporting.style import Plot

FORMATS = ("text", "markdown", "csv", "latex", "json", "html")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m protocols.report",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("protocol", metavar="PROTOCOL", help=f"{', '.join(settings.PROTOCOLS)}, or all")
    asked.add_arguments(parser, FORMATS)
    add("--spread", choices=("deviation", "interval"), default="deviation", help="behind the ±")
    add("--partial", action="store_true", help="average what is there where results are missing")
    add("--brief", action="store_true", help="only the table that compares the methods")
    add("--baseline", default="", help="the series that differences are taken from")
    return parser.parse_args(arguments)


@dataclass(frozen=True)
class Found:
    """What there is of a protocol: results, the figures made of them, what of those that were asked for
    is missing, and runs that did not train."""

    protocol: str
    results: list[Result]
    figures: list[Statistic]
    missing: list[str]
    warnings: list[str]


def _find(given: argparse.Namespace) -> list[Found]:
    """Every protocol asked for, with its results; of "all" those that have any."""
    if given.protocol not in (*settings.PROTOCOLS, "all"):
        raise settings.closest("protocol", given.protocol, (*settings.PROTOCOLS, "all"))
    selection = asked.selection(given, given.partial)
    everything = given.protocol == "all"
    found = []
    for protocol in settings.PROTOCOLS if everything else [given.protocol]:
        there = find_all_results(protocol, given.output)
        results = select(there, selection)
        if results or not everything:
            figures = summarise(protocol, results, selection)
            zero_shot = [r for r in there if methods.is_zero_shot(r.method)]
            problems = warnings(protocol, results, zero_shot)
            missing = notes_on_missing(protocol, results, figures, selection)
            found.append(Found(protocol, results, figures, missing, problems))
    if not found:
        where = ", ".join(map(str, given.output))
        raise ReportError(f"there are no finished runs of any protocol under {where}")
    return found


def make_report(given: argparse.Namespace) -> str:
    """The report's text; writes the plots where they were asked for."""
    style = asked.output_format(given, FORMATS)
    found = _find(given)
    if given.plots:
        drawn = (_plots(given, each) for each in found)
        write_plots(given.plots, (plot for kinds in drawn for plots in kinds for plot in plots))
    if style in ("csv", "json"):
        records = [record(each.protocol, figure) for each in found for figure in each.figures]
        return as_csv(records) if style == "csv" else as_json(records)
    if style == "html":
        return _page(given, found)
    tables = []
    for each in found:
        compared = comparison(each.protocol, each.figures, given.spread)
        notes = [*compared.notes, *each.missing, *(f"warning: {line}" for line in each.warnings)]
        tables.append(replace(compared, notes=notes))
        if not given.brief:
            tables += tables_of_series(each.protocol, each.figures, given.spread)
            tables.append(seeds(each.protocol, each.figures))
    return as_text(tables, style)


def _plots(given: argparse.Namespace, found: Found) -> tuple[list[Plot], list[Plot]]:
    """The plots of a protocol, named for it: of figures, and of trainings."""
    from .reporting.curves import training_plots
    from .reporting.plots import make_plots

    of_figures = make_plots(found.protocol, found.figures, given.baseline)
    # the ablation compares methods; their curves are in base2new
    without = given.brief or found.protocol == "ablation"
    of_trainings = () if without else training_plots(found.results)
    named = (
        [replace(plot, name=f"{found.protocol}-{plot.name}") for plot in plots]
        for plots in (of_figures, of_trainings)
    )
    return tuple(named)


def _page(given: argparse.Namespace, found: Sequence[Found]) -> str:
    from .reporting.page import Section, make_page

    sections = []
    for each in found:
        blocks = make_blocks(each.protocol, each.figures)
        plots, trainings = _plots(given, each)
        folded = [
            ("By method", tables_of_series(each.protocol, each.figures, given.spread)),
            ("Training", trainings),
            ("Values by seed", [seeds(each.protocol, each.figures)]),
        ]
        sections.append(
            Section(
                title=title(each.protocol, each.figures),
                warnings=each.warnings,
                plots=plots,
                blocks=blocks,
                notes=[*notes_on_comparison(blocks, each.figures), *each.missing],
                folded=[part for part in folded if part[1] and not given.brief],
            )
        )
    return make_page(sections, "Results")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    given = parse(arguments)
    try:
        write_report(make_report(given), given.out)
    except (UsageError, ReportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
