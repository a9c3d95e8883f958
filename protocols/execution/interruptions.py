"""Ctrl-C and SIGTERM: noted, and obeyed where the work can be left."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


class Interrupted(KeyboardInterrupt):
    """A signal came, and everything has been stopped."""

    BY_KEYBOARD = 128 + signal.SIGINT

    def __init__(self, number: int) -> None:
        super().__init__(f"{signal.Signals(number).name} came")
        self.status = 128 + number
        """The exit status that tells of it, 130 for Ctrl-C and 143 for SIGTERM."""


@contextmanager
def noted_interruptions() -> Iterator[list[int]]:
    """Note Ctrl-C and SIGTERM in the list that is yielded, and obey the second one at once.

    An exception out of a signal handler would be lost in what Python calls around a fork.
    """
    noted: list[int] = []

    def note(number, frame) -> None:
        noted.append(number)
        signal.signal(number, before[number])

    numbers = (signal.SIGINT, signal.SIGTERM)
    # what a shell starts in its background is to ignore Ctrl-C
    heeded = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, note) for number in heeded}
    try:
        yield noted
    finally:
        for number in heeded:
            signal.signal(number, before[number])
