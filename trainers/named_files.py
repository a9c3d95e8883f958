"""Files that settings name, such as a backbone or sentences: by content, whatever their name."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

from .results import config_items

_OF_THE_MODEL = ("MODEL.", "TRAINER.")  # pictures and their lists are compared by themselves


def named_files(config: Mapping[str, Any]) -> dict[str, str]:
    """The sha256 of every file that a setting of the model or the method names, by "KEY path"."""
    found = {}
    for key, value in config_items(config):
        if key.startswith(_OF_THE_MODEL) and isinstance(value, str) and value:
            path = os.path.expanduser(value)
            if os.path.isfile(path):
                about = os.stat(path)
                found[f"{key} {value}"] = _digest(path, about.st_size, about.st_mtime_ns)
    return found


def changed_files(recorded: Mapping[str, str], present: Mapping[str, str]) -> list[str]:
    """Those of the recorded files that are there with other content."""
    return [name for name, digest in recorded.items() if present.get(name, digest) != digest]


def file_digest(path: str | Path) -> str:
    """sha256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(partial(file.read, 1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


@cache
def _digest(path: str, size: int, modified: int) -> str:
    """`file_digest` of a file as it was then, read once for all runs of a sweep."""
    return file_digest(path)
