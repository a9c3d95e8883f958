"""Trials of the store of frozen features: whatever happens to its files, it gives no wrong feature."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch

from prompting.feature_rows import row_key
from prompting.feature_store import FeatureStore

from .mutations import of_bytes
from .readers import Reader
from .world import World

COUNT, WIDTH = 30, 16
PARTS = ("epoch-0001", "epoch-0002")


@dataclass
class Features(Reader):
    """A file of the store, changed or put in another one's place."""

    name: str = "features"

    def prepare(self, world: World, folder: Path) -> None:
        self.whole = folder / "whole"
        self.ask(self.whole)

    def ask(self, folder: Path) -> dict[str, torch.Tensor]:
        """All features by part; those that the store does not give are computed."""
        store = FeatureStore(folder)
        found = {}
        for number, part in enumerate(PARTS):
            truth = torch.cos(torch.arange(COUNT)[:, None] + 0.3 * torch.arange(WIDTH) + number)
            rows = store.rows({"of": "trials"}, part, WIDTH)
            keys = [row_key(place) for place in range(COUNT)]
            found[part] = store.fetch(rows, keys, lambda lacking, truth=truth: truth[lacking])
        return found

    def damage(self, random: Random, folder: Path) -> Path:
        shutil.copytree(self.whole, folder / "store")
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        path = random.choice(files)
        if random.random() < 0.2:
            path.write_bytes(random.choice(files).read_bytes())
        else:
            content = path.read_bytes() or b"\0"
            for _ in range(random.randint(1, 3)):
                content = of_bytes(random, content) or b"\0"
            path.write_bytes(content)
        return path

    def read(self, path: Path) -> dict[str, torch.Tensor]:
        self.ask(path.parents[1])  # mends
        return self.ask(path.parents[1])

    def intact(self, path: Path) -> dict[str, torch.Tensor]:
        return self.ask(self.whole)
