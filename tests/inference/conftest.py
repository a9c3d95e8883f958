"""Runs of every method on tiny CLIPs, as the trainers' tests make them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.trainers.conftest import (  # noqa: F401 (fixtures)
    CLASSES,
    _one_thread,
    backbones,
    build,
    data,
    run,
    trained,
)

BASE = CLASSES[:3]


@pytest.fixture(scope="session")
def pictures(data: Path) -> list[Path]:  # noqa: F811
    """The test pictures of the base classes, in the order of the test."""
    folder = data / "caltech-101"
    split = json.loads((folder / "split_zhou_Caltech101.json").read_text())
    images = folder / "101_ObjectCategories"
    return [images / path for path, label, _ in split["test"] if label < len(BASE)]
