"""What reports are asked for on their command lines."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..published import methods, settings
from .summary import Selection


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where results are, which of them count, and where the outcome goes."""
    add = parser.add_argument
    output = "the root of the output folders, or the CSV file of a report; one or several"
    add("output", type=Path, nargs="+", metavar="OUTPUT", help=output)
    add("--methods", nargs="+", default=[], help="only these")
    add("--datasets", nargs="+", default=[], help="these and no others")
    add("--config", default="", help="only runs of this configuration, such as builtin")
    add("--seeds", nargs="+", type=int, default=list(settings.SEEDS), help="the seeds to expect")
    add("--out", type=Path, help="write to this file instead of the screen")
    add("--plots", type=Path, metavar="FOLDER", help="also write the plots as PNG and CSV files")


def selection(given: argparse.Namespace, partial: bool = False) -> Selection:
    """What was asked for, by exact names.

    Raises:
        UsageError: a method or dataset is unknown, or a seed given twice.
    """
    settings.refuse_twice("seed", given.seeds)
    return Selection(
        methods=[methods.find_name(name) for name in given.methods],
        datasets=[settings.find_dataset(name) for name in given.datasets],
        config=given.config,
        seeds=given.seeds,
        partial=partial,
    )
