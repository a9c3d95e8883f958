"""All kinds of trials by name."""

from __future__ import annotations

from .kills import Disk, Kills, Signals
from .tensor_files import Backbone, Checkpoint, Pickles, Resume
from .trials import Kind

_ALL: list[Kind] = [Kills(), Disk(), Signals(), Checkpoint(), Resume(), Backbone(), Pickles()]
KINDS: dict[str, Kind] = {kind.name: kind for kind in _ALL}
