"""The command."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

from . import __doc__ as description
from .kinds import KINDS
from .trials import BAD, Kind, run, table
from .world import World


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.unkind",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--minutes", type=float, help="how long (5, unless --count is given)")
    add("--count", type=int, help="until each kind was tried so often")
    add("--only", nargs="+", metavar="KIND", choices=list(KINDS), default=list(KINDS))
    add("--seed", type=int, default=int(time.time()), help="of the first trials (the time)")
    add("--jobs", type=int, default=1, help="kinds tried at a time")
    add("--repeat", nargs=2, metavar=("SEED", "KIND"), help="one trial again, kept whatever comes")
    add("--kept", type=Path, default=Path("unkind"), help="folder for what is bad (./unkind)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Try, print the table, and return 1 where anything was raw or silent."""
    given = parse(arguments)
    if not hasattr(os, "fork"):
        print("error: this needs os.fork, which this system does not have", file=sys.stderr)
        return 2
    names, count, minutes, seed = given.only, given.count, given.minutes, given.seed
    if given.repeat:
        seed, names, count = int(given.repeat[0]), [given.repeat[1]], 1
    kinds: list[Kind] = [KINDS[name] for name in names]
    minutes = minutes or (float("inf") if count else 5)
    print(f"seed {seed}, {len(kinds)} kinds", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="unkind-") as scratch,
        patch.dict(os.environ, {"PROMPT_CACHE": str(Path(scratch, "cache"))}),
    ):
        world = World(Path(scratch, "world")).make()
        tallies = run(
            kinds,
            world,
            Path(scratch, "trials"),
            given.kept,
            seed=seed,
            seconds=60 * minutes,
            count=count,
            jobs=given.jobs,
            say=lambda text: print(text, flush=True),
        )
    print(table(tallies))
    return int(any(tally.counts[outcome] for tally in tallies.values() for outcome in BAD))


if __name__ == "__main__":
    sys.exit(main())
