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
from .reporting.blocks import METRICS, Block, make_blocks
from .reporting.costs import Cost, costs_of_benchmarks, costs_of_runs, how_measured
from .reporting.exports import write_plots, write_report
from .reporting.page import frame, shown_notes, shown_plot
from .reporting.pareto import accuracy_against_cost
from .reporting.results import ReportError
from .reporting.sources import find_all_results
from .reporting.statistic import AVERAGE, Statistic
from .reporting.style import Plot
from .reporting.summary import Selection, select, summarise
from .reporting.tables import Table, as_text, note_on_ranking, with_spread

PROTOCOL = "base2new"


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m protocols.compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    output = "the root of the output folders, or the CSV file of a report; one or several"
    add("output", type=Path, nargs="+", metavar="OUTPUT", help=output)
    add("--methods", nargs="+", default=[], help="only these")
    add("--datasets", nargs="+", default=[], help="averaged over these and no others")
    add("--config", default="", help="only runs of this configuration, such as builtin")
    add("--seeds", nargs="+", type=int, default=list(settings.SEEDS), help="the seeds to expect")
    add("--benchmarks", type=Path, help="a CSV file of benchmarks.methods")
    add("--format", choices=("text", "markdown", "html"), default="text")
    add("--out", type=Path, help="write to this file instead of the screen")
    add("--plots", type=Path, metavar="FOLDER", help="also write the plots as PNG and CSV files")
    return parser.parse_args(arguments)


def compare(given: argparse.Namespace) -> tuple[Table, list[Plot]]:
    """The table and the plots.

    Raises:
        ReportError, UsageError: there is nothing to compare, or something asked for is not there.
    """
    settings.refuse_twice("seed", given.seeds)
    selection = Selection(
        methods=[methods.find_name(name) for name in given.methods],
        datasets=[settings.find_dataset(name) for name in given.datasets],
        config=given.config,
        seeds=given.seeds,
    )
    results = select(find_all_results(PROTOCOL, given.output), selection)
    statistics = summarise(PROTOCOL, results, selection)
    averages, *_ = make_blocks(PROTOCOL, statistics)
    costs = costs_of_runs(results)
    notes = [
        f"base, new and H: of {', '.join(_datasets(statistics))}, ± standard deviation over the seeds",
        "published H: average over the papers' eleven datasets, ViT-B/16",
    ]
    if given.benchmarks:
        costs += costs_of_benchmarks(given.benchmarks)
        notes.append(f"step and memory at ViT-B/16: {how_measured(given.benchmarks)}")
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
        table, plots = compare(given)
    except (UsageError, ReportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    text = _as_html(table, plots) if given.format == "html" else as_text([table], given.format)
    write_report(text, given.out)
    if given.plots:
        write_plots(given.plots, plots)
    return 0


if __name__ == "__main__":
    sys.exit(main())
