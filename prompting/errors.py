"""Mistakes that a user can mend, told in a line to three."""


class InputError(ValueError):
    """Names what was wrong, what was expected and what to do; shown without a traceback."""


class NotFiniteError(InputError, FloatingPointError):
    """A loss that is no number."""
