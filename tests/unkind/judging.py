"""What a clear message is."""

from __future__ import annotations

LONGEST = 3
"""Lines of a message."""
MARK = "error:"
"""What train.py and the reports put before one; warnings may stand above it."""


def is_clear(stderr: str) -> bool:
    """Whether what a command left on stderr ends in a message of a line to three, no traceback."""
    lines = [line for line in stderr.splitlines() if line.strip()]
    marked = [index for index, line in enumerate(lines) if line.startswith(MARK)]
    return bool(marked) and len(lines) - marked[-1] <= LONGEST and "Traceback" not in stderr
