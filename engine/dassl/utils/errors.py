"""Mistakes that a user can mend, told in a line to three."""


class InputError(ValueError):
    """Names what was wrong, what was expected and what to do; shown without a traceback."""


class ImageError(InputError, OSError):
    """A picture that cannot be read."""

    def __init__(self, message: str) -> None:
        # A loader's worker process hands an error on as text, behind its whole traceback.
        name = f"{type(self).__module__}.{type(self).__qualname__}: "
        super().__init__(message.rpartition(name)[2].strip())


class MissingImage(ImageError, FileNotFoundError):
    """A picture that is not there."""


class NotFiniteError(InputError, FloatingPointError):
    """A loss that is no number."""


class UnwrittenFile(InputError, OSError):
    """A file that could not be written; what was there before is kept."""


class MissingCheckpoint(InputError, FileNotFoundError):
    """A checkpoint that is not there."""
