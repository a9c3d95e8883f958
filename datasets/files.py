"""Files that no reader ever sees half of."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from typing import Any


def write_bytes(content: bytes, path: str | Path) -> None:
    """Write ``path`` whole or not at all; any number of threads and processes may write it at once."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(content: Any, path: str | Path) -> None:
    """The same for JSON."""
    write_bytes(json.dumps(content).encode(), path)
