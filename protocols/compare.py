"""All methods side by side: how well they do on the average of some datasets, and what that costs.

    python -m protocols.compare output --config builtin --benchmarks docs/methods.csv
    python -m protocols.compare output --config builtin --out methods.html --plots plots

Accuracies, learned numbers and the sizes of files are of the base-to-new runs under OUTPUT; what the
methods cost at the size of ViT-B/16 is read from the file of benchmarks.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from .published import methods, settings
from .published.figures import published
from .published.settings import UsageError
from .reporting import asked
from .reporting.blocks import METRICS, Block, make_blocks
from .reporting.costs import Cost, costs_of_benchmarks, costs_of_runs
from .reporting.exports import write_plots, write_report
from .reporting.missing import notes_on_missing
from .reporting.page import frame, shown_notes, shown_plot
from .reporting.pareto import accuracy_against_cost
from .reporting.results import ReportError
from .reporting.sources import find_all_results
from .reporting.statistic import AVERAGE, Statistic
from .reporting.style import Plot
from .reporting.summary import select, summarise
from .reporting.tables import Table, as_text, note_on_ranking, with_spread, without_average

PROTOCOL = "base2new"
FORMATS = ("text", "markdown", "html")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m protocols.compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    asked.add_arguments(parser, FORMATS)
    parser.add_argument("--benchmarks", type=Path, help="a CSV file of benchmarks.methods")
    return parser.parse_args(arguments)


def compare(given: argparse.Namespace) -> tuple[Table, list[Plot]]:
    """The table and the plots.

    Raises:
        ReportError, UsageError: there is nothing to compare, or something asked for is not there.
    """
    selection = asked.selection(given)
    results = select(find_all_results(PROTOCOL, given.output), selection)
    statistics = summarise(PROTOCOL, results, selection)
    averages, *_ = make_blocks(PROTOCOL, statistics)
    costs = costs_of_runs(results)
    notes = [
        f"base, new and H: of {', '.join(_datasets(statistics))}, ± standard deviation over the seeds",
        "published H: average over the papers' eleven datasets, ViT-B/16",
        *notes_on_missing(PROTOCOL, results, statistics, selection),
    ]
    if len(_datasets(statistics)) > 1 and (incomplete := without_average(statistics)):
        notes.append(
            f"no average of {', '.join(incomplete)}, since results are missing (--seeds and --datasets "
            "average those that are there)"
        )
    if given.benchmarks:
        at_full_size, measured = costs_of_benchmarks(given.benchmarks)
        costs += at_full_size
        notes.append(f"step and memory at ViT-B/16: {measured}")
    return _table(averages, costs, notes), list(_plots(averages, costs))


def _datasets(statistics: Sequence[Statistic]) -> list[str]:
    return list(dict.fromkeys(f.dataset for f in statistics if f.dataset != AVERAGE))


def _table(averages: Block, costs: Sequence[Cost], notes: Sequence[str]) -> Table:
    rows, best = [], set()
    for number, row in enumerate(averages.rows):
        best |= {(number, column) for column, is_best in enumerate(row.best, start=1) if is_best}
        rows.append(
            [
                row.name,
                *(with_spread(figure, "deviation") for figure in row.figures),
                _published(row.method),
                *(cost.text(row.method) for cost in costs),
            ]
        )
    outside = [note_on_ranking(row) for row in averages.rows if row.transductive]
    headers = ["method", *averages.columns, "published H", *(cost.title for cost in costs)]
    return Table("Methods side by side", headers, rows, [*notes, *outside], best)


def _published(method: str) -> str:
    reported_as = methods.find(method).reported_as or method
    key = (PROTOCOL, reported_as, AVERAGE, settings.SHOTS, "harmonic_mean")
    paper = published().get(key)
    return f"{paper.value:.2f}{paper.mark}" if paper else "-"


def _plots(averages: Block, costs: Sequence[Cost]) -> Iterator[Plot]:
    """H against every cost that is known of several methods."""
    of_h = averages.columns.index(METRICS["harmonic_mean"])
    accuracies = {
        row.method: figure.mean
        for row in averages.rows
        if (figure := row.figures[of_h]) and figure.mean is not None
    }
    transductive = [row.method for row in averages.rows if row.transductive]
    for cost in costs:
        if len(cost.values.keys() & accuracies.keys()) > 1:
            yield accuracy_against_cost(cost, accuracies, transductive)


def _as_html(table: Table, plots: Sequence[Plot]) -> str:
    drawn = f'<div class="blocks">{"".join(map(shown_plot, plots))}</div>\n'
    line = "The line runs along the methods that no other beats in both. Hollow: not ranked."
    body = f'{drawn}{shown_notes([line])}<div class="scroll">{table.format("html")}</div>\n'
    return frame(table.title, body + shown_notes(table.notes))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    given = parse(arguments)
    try:
        style = asked.output_format(given, FORMATS)
        table, plots = compare(given)
        write_report(
            _as_html(table, plots) if style == "html" else as_text([table], style), given.out
        )
        if given.plots:
            write_plots(given.plots, plots)
    except (UsageError, ReportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
