"""What reports are asked for on their command lines."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..published import methods, settings
from ..published.settings import UsageError
from .summary import Selection

SUFFIXES = {
    ".txt": "text",
    ".md": "markdown",
    ".csv": "csv",
    ".tex": "latex",
    ".json": "json",
    ".html": "html",
}


def add_arguments(parser: argparse.ArgumentParser, formats: Sequence[str]) -> None:
    """Where results are, which of them count, and where the outcome goes, in one of some formats."""
    add = parser.add_argument
    output = "the root of the output folders, or the CSV file of a report; one or several"
    add("output", type=Path, nargs="+", metavar="OUTPUT", help=output)
    add("--methods", nargs="+", default=[], help="only these")
    add("--datasets", nargs="+", default=[], help="these and no others")
    add("--config", default="", help="only runs of this configuration, such as builtin")
    add("--seeds", nargs="+", type=int, default=list(settings.SEEDS), help="the seeds to expect")
    add("--out", type=Path, help="write to this file instead of the screen")
    add("--format", choices=formats, help="as the name of --out ends, else text")
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


def output_format(given: argparse.Namespace, formats: Sequence[str]) -> str:
    """The format asked for, or the one that the name of --out ends in, or text.

    Raises:
        UsageError: the name of --out is that of another format, or of what is to be read.
    """
    if given.out is None:
        return given.format or "text"
    if given.out.resolve() in [source.resolve() for source in given.output]:
        raise UsageError(f"--out {given.out} would replace what is read: give another file")
    named = given.format or SUFFIXES.get(given.out.suffix.lower(), "text")
    if named not in formats:
        raise UsageError(
            f"--out {given.out}: there is no {named} here; name a file of {', '.join(formats)}, or "
            "give one of them as --format"
        )
    return named
