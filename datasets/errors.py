"""Mistakes that a user can mend, told in a line to three."""


class InputError(ValueError):
    """Names what was wrong, what was expected and what to do; shown without a traceback."""


class MissingError(InputError, FileNotFoundError):
    """A file or folder that is not there."""


class NotAFolderError(InputError, NotADirectoryError):
    """A file where a folder is expected."""


class NoPermissionError(InputError, PermissionError):
    """A file or folder that may not be read or written."""


class DiskFullError(InputError, OSError):
    """There is no room for a file."""
