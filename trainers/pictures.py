"""Which pictures a run is made of: by name, size in bytes and class, not by content."""

from __future__ import annotations

import hashlib
import io
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from typing import Any

from dassl.data.datasets import DATASET_REGISTRY
from yacs.config import CfgNode

NAMED_CLASSES = 3

Pictures = dict[str, dict[str, list]]
"""By part (train_x, val, test) and class name: the number of pictures, and a digest of them."""

_described: dict[tuple, Pictures] = {}


def data_digest(items: Iterable[Any], folder: str) -> str:
    """A digest of pictures and their classes, in order, whatever root they lie under.

    Args:
        items: Dassl's Datum.
        folder: what the paths are taken relative to.
    """
    digest = hashlib.sha256()
    for item in items:
        path = os.fsencode(_relative(item.impath, folder))
        about = f"\t{_size(item.impath)}\t{item.label}\t{item.classname}\n"
        digest.update(path + about.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def describe(dataset: Any, parts: Iterable[str]) -> Pictures:
    """The pictures of a dataset's parts, class by class; a part that it lacks is empty."""
    folder = getattr(dataset, "dataset_dir", "")
    described = {}
    for part in parts:
        classes = defaultdict(list)
        for item in getattr(dataset, part, None) or ():
            classes[item.classname].append(item)
        described[part] = {
            name: [len(items), data_digest(items, folder)] for name, items in classes.items()
        }
    return described


def of_configuration(cfg: CfgNode, parts: Sequence[str]) -> Pictures:
    """`describe` for the dataset of a configuration, built once for all runs on it; writes nothing."""
    key = (cfg.SEED, str(cfg.DATASET), *parts)
    if cfg.SEED < 0 or key not in _described:
        _described[key] = describe(dataset_of(cfg), parts)
    return _described[key]


def dataset_of(cfg: CfgNode) -> Any:
    """The dataset of a run's configuration, as the run sees it; writes and prints nothing.

    Raises:
        InputError: it is unknown, or cannot be read.
    """
    quiet = cfg.clone()
    quiet.defrost()
    # a draw without a seed is looked up where RESUME says
    quiet.OUTPUT_DIR, quiet.RESUME = "", cfg.OUTPUT_DIR
    with redirect_stdout(io.StringIO()):
        return DATASET_REGISTRY.get(cfg.DATASET.NAME)(quiet)


def differences(old: Pictures, new: Pictures) -> list[str]:
    """What has changed in the parts that both sides describe, a line for each part."""
    return [
        f"{part}: {_differing_classes(was, new[part])}"
        for part, was in old.items()
        if part in new and was != new[part]
    ]


def _differing_classes(old: Mapping[str, list], new: Mapping[str, list]) -> str:
    differing = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    named = [
        f"{name!r} ({old.get(name, [0])[0]} then, {new.get(name, [0])[0]} now)"
        for name in differing[:NAMED_CLASSES]
    ]
    rest = len(differing) - NAMED_CLASSES
    return ", ".join(named) + (f" and {rest} more classes" if rest > 0 else "")


def digests(dataset: Any, parts: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Part and digest, of those parts that a dataset has."""
    folder = getattr(dataset, "dataset_dir", "")
    for part in parts:
        if items := getattr(dataset, part, None):
            yield part, data_digest(items, folder)


def _relative(path: str, folder: str) -> str:
    try:
        return os.path.relpath(path, folder) if folder else path
    except ValueError:  # on another drive
        return path


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:  # the loader names a picture that is missing
        return None
