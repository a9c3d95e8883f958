"""Show or clear the store of frozen features.

    python -m prompting.features                   # its folders, the least recently used last
    python -m prompting.features --clear           # remove all of them
    python -m prompting.features --clear 3f2a 9c   # remove those whose names begin so

Nothing is lost: what is asked for again is computed again.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .command_line import Parser
from .errors import InputError
from .feature_store import Entry, FeatureStore, remove

# of no interest to people
_UNSAID = ("format", "width", "dtype")
_NAME = 8


def listing(store: FeatureStore) -> str:
    """The folders of a store, the most recently used first, and their sum."""
    entries = store.entries()[::-1]
    lines = [_row("folder", "size", "features", "last used", "of")] if entries else []
    lines += [
        _row(
            entry.folder.name[:_NAME],
            _size(entry.size),
            f"{entry.count:,}",
            _date(entry.used),
            _described(entry.about),
        )
        for entry in entries
    ]
    total = _size(sum(entry.size for entry in entries))
    return "\n".join([*lines, f"{store.folder}: {len(entries)} folders, {total}"])


def clear(store: FeatureStore, names: Sequence[str]) -> list[Entry]:
    """Remove the folders whose names begin so, or all; returns them.

    Raises:
        InputError: no folder's name begins so.
    """
    entries = store.entries()
    for name in names:
        if not any(entry.folder.name.startswith(name) for entry in entries):
            raise InputError(
                f"{store.folder} has no folder {name}: give the beginning of one that is listed, or "
                "none to clear all"
            )
    chosen = [each for each in entries if each.folder.name.startswith(tuple(names or [""]))]
    for entry in chosen:
        remove(entry.folder)
    return chosen


def _row(folder: str, size: str, count: str, used: str, about: str) -> str:
    return f"{folder:{_NAME}}  {size:>9}  {count:>10}  {used:16}  {about}"


def _described(about: Mapping[str, Any]) -> str:
    said = (value for key, value in about.items() if key not in _UNSAID)
    return ", ".join(str(value) for value in said if isinstance(value, (str, int))) or "unknown"


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = Parser(
        prog="python -m prompting.features",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--folder", type=Path, help="the store's, by default the one that runs use")
    add("--clear", nargs="*", metavar="NAME", help="remove all folders, or those named")
    try:
        given = parser.parse_args(arguments)
        store = FeatureStore(given.folder)
        if given.clear is None:
            print(listing(store))
        else:
            removed = clear(store, given.clear)
            print(f"removed {len(removed)} folders, {_size(sum(each.size for each in removed))}")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
