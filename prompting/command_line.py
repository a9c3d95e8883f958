"""What all programs of this project share on the command line."""

from __future__ import annotations

import argparse
from typing import NoReturn

from .errors import InputError


class Parser(argparse.ArgumentParser):
    """A parser that tells a mistake as every other mistake of the user is told.

    Raises:
        InputError: names it, and the command that lists the flags.
    """

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}. `{self.prog} --help` lists the flags")
