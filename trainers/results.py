"""A run's folder: which configuration made it, and the numbers of its tests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from yacs.config import CfgNode

from prompting.files import write_atomically

CONFIG_FILE = "config.yaml"
RESULTS_FILE = "results.json"

# keys in which two runs of one experiment may differ
_IRRELEVANT = (
    "OUTPUT_DIR",
    "RESUME",
    "VERBOSE",
    "DATASET.ROOT",
    "DATALOADER.NUM_WORKERS",
    "TRAIN.PRINT_FREQ",
    "TRAIN.CHECKPOINT_FREQ",
    "TEST.",
)


def plain_config(cfg: CfgNode) -> dict[str, Any]:
    """A configuration as nested dicts and lists of plain values."""
    return {
        key: plain_config(value)
        if isinstance(value, CfgNode)
        else list(value)
        if isinstance(value, tuple)
        else value
        for key, value in cfg.items()
    }


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{key}."))
        elif not f"{prefix}{key}".startswith(_IRRELEVANT):
            flat[f"{prefix}{key}"] = value
    return flat


def differing_keys(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The keys, with both values, in which two configurations describe different experiments."""
    old, new = _flat(old), _flat(new)
    return [
        f"{key} was {old.get(key)!r} and is {new.get(key)!r}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]


def claim_folder(cfg: CfgNode) -> None:
    """Make the output folder this configuration's own.

    Raises:
        ValueError: another configuration made it; names the keys that differ.
    """
    path = Path(cfg.OUTPUT_DIR, CONFIG_FILE)
    config = plain_config(cfg)
    if path.is_file():
        if differing := differing_keys(yaml.safe_load(path.read_text()), config):
            raise ValueError(
                f"{path.parent} holds a run with another configuration: {'; '.join(differing)}. "
                "Choose another --output-dir, or move that folder away"
            )
        return
    write_atomically(path, lambda temporary: temporary.write_text(yaml.safe_dump(config)))


def write_results(trainer: Any, split: str, total: int, metrics: Mapping[str, float]) -> None:
    """Write results.json beside log.txt: the metrics at full precision and what they are of."""
    cfg = trainer.cfg
    results = {
        "trainer": cfg.TRAINER.NAME,
        "dataset": cfg.DATASET.NAME,
        "classes": cfg.DATASET.get("SUBSAMPLE_CLASSES", "all"),
        "split": split,
        "shots": cfg.DATASET.NUM_SHOTS,
        "seed": cfg.SEED,
        "epoch": trainer.epoch + 1,
        "total": total,
        "metrics": {name: float(value) for name, value in metrics.items()},
        "config": plain_config(cfg),
    }
    text = json.dumps(results, indent=2)
    write_atomically(Path(cfg.OUTPUT_DIR, RESULTS_FILE), lambda t: t.write_text(text + "\n"))
