"""The store of frozen features: what nothing learned reaches is computed once, and kept on disk.

It knows nothing of methods. Features that differ in anything but the picture or text (weights,
precision, transform, seed) have folders of their own, named by a digest of that.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .errors import InputError
from .feature_rows import ABOUT_FILE, KEY_BYTES, KEYS, LOCK_FILE, ROWS, FeatureRows, row_key
from .files import temporary_files

FORMAT = 1
"""Raised with every change of an encoder or of the files that makes earlier features wrong."""
LIMIT = 10.0
"""GB that the store may take by default."""
Fetch = Callable[[Sequence[object], Callable[[list[int]], Tensor]], Tensor]
"""From keys, and what computes the features of some of them by their places, to the features (N, D)."""
_GB = 10**9
_LEFT_FREE = 10**9
# the store is measured again after every such share of its bound
_SHARE = 0.01
_NAME = re.compile(r"[0-9a-f]{32}")


def cache_folder() -> Path:
    """Where computed features are kept: PROMPT_CACHE, else a folder in the user's cache."""
    if given := os.environ.get("PROMPT_CACHE"):
        return Path(given).expanduser()
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "prompt-learning"


def computed_on(device: torch.device) -> dict[str, str]:
    """What a feature's last digits depend on, but for weights, precision, threads and batch."""
    if device.type == "cuda":
        kind = torch.cuda.get_device_name(device)
        tf32 = f"TF32 {torch.backends.cuda.matmul.allow_tf32} {torch.backends.cudnn.allow_tf32}"
    else:
        kind, tf32 = torch.backends.cpu.get_cpu_capability(), torch.get_float32_matmul_precision()
    return {"device": f"{device.type} {kind}", "matmul": tf32, "torch": str(torch.__version__)}


def compute_all(keys: Sequence[object], compute: Callable[[list[int]], Tensor]) -> Tensor:
    """A `Fetch` without a store."""
    return compute(list(range(len(keys))))


@dataclass(frozen=True)
class Entry:
    """A folder of the store: what its features are of ({} where that is lost), its bytes, its number of
    features, and when it was last used, in seconds since 1970."""

    folder: Path
    about: Mapping[str, Any]
    size: int
    count: int
    used: float


class FeatureStore:
    """Features on disk up to a bound; of what does not fit the least recently used folder leaves first.

    A store that cannot be written is gone without, which is said once.

    Args:
        folder: where; by default in `cache_folder`.
        limit: its bound in GB (10^9 bytes).
    """

    def __init__(self, folder: Path | None = None, limit: float = LIMIT) -> None:
        self.folder = folder or cache_folder() / "features"
        self.limit = limit * _GB
        self._added = self.limit  # since it was measured; the first addition measures
        self._closed = False

    def rows(
        self, about: Mapping[str, Any], name: str, width: int, dtype: torch.dtype = torch.float32
    ) -> FeatureRows:
        """The features of one kind.

        Args:
            about: plain values that decide them, beside name and key.
            name: of a part of them, such as an epoch; a file's name.
            width, dtype: of a feature.
        """
        described = {"format": FORMAT, "width": width, "dtype": str(dtype), **about}
        text = json.dumps(described, sort_keys=True, indent=1)
        folder = self.folder / hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        with suppress(OSError):
            os.utime(folder / ABOUT_FILE)  # used now
        return FeatureRows(folder, name, text, width, dtype)

    def keep(self, rows: FeatureRows, keys: Sequence[bytes], features: Tensor) -> Tensor:
        """Add features (N, width) and return them as they are kept, on the CPU: those that are there
        already stay, so that whoever asks again gets the same digits."""
        features = features.detach().to("cpu", rows.dtype)
        if self._closed:
            return features
        try:
            self._make_room(rows.folder, features.nbytes)
            kept = rows.put(keys, features)
        except (OSError, NotImplementedError, InputError) as error:
            self._close(str(error))
            return features
        if rows.damaged:
            print(f"{rows.folder}: {rows.damaged} features are damaged, and computed again")
            rows.damaged = 0
        return kept

    def fetch(
        self, rows: FeatureRows, keys: Sequence[bytes], compute: Callable[[list[int]], Tensor]
    ) -> Tensor:
        """The features (N, width) of keys, on the CPU; those that are not there are computed and added.

        Args:
            compute: gives the features of some of the keys, by their places.
        """
        found = [rows.get(key) for key in keys]
        if lacking := [place for place, row in enumerate(found) if row is None]:
            computed = self.keep(rows, [keys[place] for place in lacking], compute(lacking))
            for place, row in zip(lacking, computed, strict=True):
                found[place] = row
        return torch.stack(found)

    def texts(self, fingerprint: str, width: int, device: torch.device) -> Fetch:
        """What fetches text features (N, width) in fp32 of a frozen CLIP, by keys that say all of the
        texts."""
        about = {"of": "texts", "backbone": fingerprint, "computed_on": computed_on(device)}

        def fetch(keys: Sequence[object], compute: Callable[[list[int]], Tensor]) -> Tensor:
            rows = self.rows(about, "all", width)
            return self.fetch(rows, [row_key(key) for key in keys], compute).to(device)

        return fetch

    def entries(self) -> list[Entry]:
        """What is in the store, the least recently used first."""
        folders = [path for path in self.folder.glob("*") if _NAME.fullmatch(path.name)]
        return sorted(map(_entry, folders), key=lambda entry: entry.used)

    def _make_room(self, own: Path, size: int) -> None:
        """Remove what was used least recently until so many more bytes fit.

        Raises:
            InputError: they do not, or the disk is nearly full.
        """
        self._added += size
        if self._added < _SHARE * self.limit:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(self.folder).free < size + _LEFT_FREE:
            raise InputError(
                f"the disk of {self.folder} has less than {_LEFT_FREE / _GB:g} GB left"
            )
        entries = self.entries()
        total = sum(entry.size for entry in entries) + size
        for entry in entries:
            if total > self.limit and entry.folder != own:
                remove(entry.folder)
                total -= entry.size
        if total > self.limit:
            raise InputError(f"{self.folder} is at its bound of {self.limit / _GB:g} GB")
        self._added = 0

    def _close(self, why: str) -> None:
        self._closed = True
        print(
            f"Features are not kept from here on: {why}. STORE.FOLDER (or PROMPT_CACHE) names another "
            "folder, STORE.GB another bound; `python -m prompting.features` shows and clears it"
        )


def remove(folder: Path) -> None:
    """Remove a folder of the store, and nothing in it that is not the store's; who reads or adds to it
    computes anew."""
    own = [folder / ABOUT_FILE, folder / LOCK_FILE, *temporary_files(folder)]
    for path in (*folder.glob(f"*{KEYS}"), *folder.glob(f"*{ROWS}"), *own):
        with suppress(OSError):
            path.unlink()
    with suppress(OSError):
        folder.rmdir()


def _entry(folder: Path) -> Entry:
    sizes: dict[str, int] = {}
    about: Mapping[str, Any] = {}
    used = 0.0
    with suppress(OSError, ValueError):
        sizes = {file.name: file.stat().st_size for file in os.scandir(folder)}
        used = (folder / ABOUT_FILE).stat().st_mtime
        about = json.loads((folder / ABOUT_FILE).read_text())
    count = sum(size for name, size in sizes.items() if name.endswith(KEYS)) // KEY_BYTES
    return Entry(folder, about, sum(sizes.values()), count, used)
