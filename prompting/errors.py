"""Mistakes that a user can mend, told in a line to three."""

import re
from typing import Any


class InputError(ValueError):
    """Names what was wrong, what was expected and what to do; shown without a traceback."""


def brief(value: Any, length: int = 100) -> str:
    """Whatever a file holds in one line, for a message; tensors take many as they print themselves."""
    text = re.sub(r"\n\s*", " ", repr(value))
    return text if len(text) <= length else f"{text[:length]} ..."


class NotFiniteError(InputError, FloatingPointError):
    """A loss that is no number."""
