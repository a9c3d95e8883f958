"""Copying what a run prints into a file."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from typing import Any, TextIO

from .tools import mkdir_if_missing

__all__ = ["Logger", "setup_logger"]


class Logger:
    """A text stream that writes to standard output and to a file.

    Progress bars belong on standard error, which is left alone.

    Args:
        fpath: the file; its folder is made. ``None``: standard output only.
    """

    def __init__(self, fpath: str | None = None) -> None:
        self.console: TextIO = sys.stdout
        self.file: TextIO | None = None
        if fpath is not None:
            mkdir_if_missing(os.path.dirname(fpath))
            # Line by line, so that a run that is killed leaves its log up to there.
            self.file = open(fpath, "w", 1, "utf-8", "backslashreplace")  # noqa: SIM115

    def __enter__(self) -> Logger:
        return self

    def __exit__(self, *args: Any) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        # What a stream is asked besides (isatty, fileno, encoding) the console answers.
        return getattr(self.__dict__["console"], name)

    def write(self, msg: str) -> int:
        """Write to both; returns the number of characters. What cannot be shown is escaped."""
        # A full disk or a reader who has gone is no reason to stop: what counts is saved elsewhere.
        with suppress(OSError):
            if self.file is not None:
                self.file.write(msg)
        with suppress(OSError):
            try:
                self.console.write(msg)
            except UnicodeEncodeError:
                # Names of files need not be text, and a terminal need not know every letter.
                encoding = self.console.encoding or "ascii"
                self.console.write(msg.encode(encoding, "backslashreplace").decode(encoding))
        return len(msg)

    def flush(self) -> None:
        """Flush both."""
        for stream in (self.console, self.file):
            if stream is not None:
                with suppress(OSError):
                    stream.flush()

    def close(self) -> None:
        """Close the file; the console stays open."""
        if self.file is not None:
            self.file.close()
            self.file = None


def setup_logger(output: str | None = None) -> None:
    """Copy standard output to a log file from here on.

    Args:
        output: a file name ending in ``.txt`` or ``.log``, or a folder that gets ``log.txt``. A
            file that exists is kept: the new one's name ends in the date and time. ``None``: no
            file.
    """
    if output is None:
        return
    fpath = output if output.endswith((".txt", ".log")) else os.path.join(output, "log.txt")
    if os.path.exists(fpath):
        stamped = fpath + time.strftime("-%Y-%m-%d-%H-%M-%S")
        fpath, attempt = stamped, 1
        while os.path.exists(fpath):
            attempt += 1
            fpath = f"{stamped}-{attempt}"
    sys.stdout = Logger(fpath)
