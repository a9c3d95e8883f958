"""What was asked for and is not there: notes under a table that would else not tell of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..published import methods
from .results import Result
from .statistic import AVERAGE, Statistic, labels, rows_of
from .summary import Selection


def notes_on_missing(
    protocol: str, results: Sequence[Result], figures: Sequence[Statistic], selection: Selection
) -> list[str]:
    """What has no result at all, a line each, then the gaps, a line a series.

    Args:
        protocol: one of settings.PROTOCOLS.
        results: those selected.
        figures: made of them.
        selection: what was asked for.
    """
    trained = [r for r in results if not methods.is_zero_shot(r.method)]
    asked_and_there = {
        "of {}": (selection.methods, {r.method for r in results}),
        "on {}": (selection.datasets, {r.dataset for r in results}),
        "of seed {}": (selection.seeds if trained else (), {r.seed for r in trained}),
    }
    nowhere, notes = set(), []
    for what, (asked, there) in asked_and_there.items():
        missing = [str(each) for each in asked if each not in there]
        notes += [f"no result {what.format(each)}" for each in missing]
        nowhere |= {*missing}
    for series, name in labels(figures).items():
        of_series = [f for f in figures if f.series == series and f.dataset != AVERAGE]
        if gaps := list(_gaps(protocol, of_series, nowhere)):
            notes.append(f"no result of {name} on {'; '.join(gaps)}")
    return notes


def _gaps(protocol: str, figures: Sequence[Statistic], nowhere: set[str]) -> Iterator[str]:
    """Datasets, with the seeds and the half that are missing where others are there."""
    # a method that learns on each target has no result on the source
    there = (f for f in figures if f.values or not f.is_source)
    rows = rows_of(f for f in there if f.dataset not in nowhere)
    for (dataset, shots), of_row in rows.items():
        shown = f"{dataset}, {shots} shots" if protocol == "few_shot" and shots else dataset
        halves = {f.metric: set(f.missing) - nowhere for f in of_row}
        halves.pop("harmonic_mean", None)
        everywhere = set.intersection(*halves.values())
        if not any(f.values for f in of_row):
            yield shown
            continue
        if everywhere:
            yield _seeds(shown, everywhere)
        for half, missing in halves.items():
            if missing - everywhere:
                yield _seeds(f"{shown} ({half})", missing - everywhere)


def _seeds(where: str, seeds: set[str]) -> str:
    return f"{where}, seed{'s' * (len(seeds) > 1)} {', '.join(sorted(seeds, key=int))}"
