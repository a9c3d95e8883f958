"""The table of a protocol, made of the results under an output root.

    python -m protocols.report base2new output
    python -m protocols.report few_shot output --format markdown --out few_shot.md
    python -m protocols.report all output --format html --out report.html
    python -m protocols.report base2new output --plots plots --baseline ZeroshotCLIP

Published figures stand beside ours where the configuration is the published one; the signs behind them
say how sure they are. Averages are refused where results are missing, unless --partial is given.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .published import methods, settings
from .published.settings import UsageError
from .reporting.results import ReportError, Result, find_results
from .reporting.summary import Selection, Statistic, select, summarise, title
from .reporting.tables import as_csv, as_json, as_text, make_tables, record

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
    add("output", type=Path, metavar="OUTPUT", help="the root of the output folders")
    add("--methods", nargs="+", default=[], help="only these")
    add("--datasets", nargs="+", default=[], help="these and no others")
    add("--config", default="", help="only runs of this configuration, such as builtin")
    add("--seeds", nargs="+", type=int, default=list(settings.SEEDS), help="the seeds to expect")
    add("--spread", choices=("deviation", "interval"), default="deviation", help="behind the ±")
    add("--partial", action="store_true", help="average what is there where results are missing")
    add("--brief", action="store_true", help="only the table that compares the methods")
    add("--format", choices=FORMATS, default="text")
    add("--out", type=Path, help="write to this file instead of the screen")
    add("--plots", type=Path, metavar="FOLDER", help="also write the plots as PNG files")
    add("--baseline", default="", help="the series that differences are taken from")
    return parser.parse_args(arguments)


def _protocols(given: argparse.Namespace) -> list[tuple[str, list[Result], list[Statistic]]]:
    """Every protocol asked for, with its results; of "all" those that have any."""
    if given.protocol not in (*settings.PROTOCOLS, "all"):
        raise settings.closest("protocol", given.protocol, (*settings.PROTOCOLS, "all"))
    settings.refuse_twice("seed", given.seeds)
    selection = Selection(
        methods=[methods.find_name(name) for name in given.methods],
        datasets=[settings.find_dataset(name) for name in given.datasets],
        config=given.config,
        seeds=given.seeds,
        partial=given.partial,
    )
    everything = given.protocol == "all"
    found = []
    for protocol in settings.PROTOCOLS if everything else [given.protocol]:
        results = select(find_results(protocol, given.output), selection)
        if results or not everything:
            found.append((protocol, results, summarise(protocol, results, selection)))
    if not found:
        raise ReportError(f"there are no finished runs of any protocol under {given.output}")
    return found


def make_report(given: argparse.Namespace) -> str:
    """The report's text; writes the plots where they were asked for."""
    found = _protocols(given)
    if given.plots:
        _write_plots(given, found)
    if given.format in ("csv", "json"):
        records = [record(protocol, each) for protocol, _, figures in found for each in figures]
        return as_csv(records) if given.format == "csv" else as_json(records)
    tables = {
        protocol: make_tables(protocol, figures, given.spread) for protocol, _, figures in found
    }
    if given.brief:
        tables = {protocol: each[:1] for protocol, each in tables.items()}
    if given.format != "html":
        return as_text([table for each in tables.values() for table in each], given.format)
    from .reporting.page import make_page
    from .reporting.plots import make_plots

    parts = [
        (title(protocol), tables[protocol], make_plots(protocol, figures, results, given.baseline))
        for protocol, results, figures in found
    ]
    return make_page(parts, "Results")


def _write_plots(
    given: argparse.Namespace, found: Sequence[tuple[str, list[Result], list[Statistic]]]
) -> None:
    from .reporting.plots import make_plots

    given.plots.mkdir(parents=True, exist_ok=True)
    for protocol, results, figures in found:
        for name, figure in make_plots(protocol, figures, results, given.baseline):
            figure.savefig(given.plots / f"{protocol}-{name}.png", dpi=150)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    given = parse(arguments)
    try:
        text = make_report(given)
        if given.out:
            from prompting.files import write_atomically

            write_atomically(given.out, lambda path: path.write_text(text, encoding="utf-8"))
        else:
            print(text)
    except (UsageError, ReportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
