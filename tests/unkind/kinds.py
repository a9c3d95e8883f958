"""All kinds of trials by name."""

from __future__ import annotations

from .feature_files import Features
from .kills import Disk, Kills, Signals
from .pictures import Archives, Pictures
from .result_files import Descriptions, Draws, Logs, Records, Results
from .settings import Settings
from .tensor_files import Backbone, Checkpoint, Pickles, Resume
from .text_files import ClassNames, Configuration, Csv, Split
from .trials import Kind

_ALL: list[Kind] = [
    Kills(),
    Disk(),
    Signals(),
    Checkpoint(),
    Resume(),
    Backbone(),
    Pickles(),
    Split(),
    Csv(),
    ClassNames(),
    Configuration(),
    Pictures(),
    Archives(),
    Settings(),
    Features(),
    Results(),
    Records(),
    Draws(),
    Descriptions(),
    Logs(),
]
KINDS: dict[str, Kind] = {kind.name: kind for kind in _ALL}
