"""The numbers of a run's tests, and whether two configurations describe one experiment."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dassl.config import get_cfg_default
from dassl.engine import TRAINER_REGISTRY
from yacs.config import CfgNode

from prompting.files import write_atomically

RESULTS_FILE = "results.json"

# keys in which two runs of one experiment may differ
_IRRELEVANT = (
    "OUTPUT_DIR",
    "RESUME",
    "STORE.",
    "VERBOSE",
    "DATASET.ROOT",
    "DATALOADER.NUM_WORKERS",
    "DATALOADER.KEPT_PIXELS",
    "TRAIN.PRINT_FREQ",
    "TRAIN.STEP",
    "TRAIN.CHECKPOINT_FREQ",
    "TEST.EVERY",
    "TEST.PER_CLASS_RESULT",
    "TEST.COMPUTE_CMAT",
)


# without a test there is no validation either, which chooses the best epoch
_FINAL_MODEL = "TEST.FINAL_MODEL"
# what our engine adds to Dassl's options, at the values that change nothing: runs go on on either
_ADDED_BY_OUR_ENGINE = {"OPTIM.ADAM_EPS": 1e-8}


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


def used_config(cfg: CfgNode) -> dict[str, Any]:
    """`plain_config` without the nodes of other methods: what a run keeps of its configuration."""
    config = plain_config(cfg)
    nodes = used_nodes(cfg.TRAINER.NAME)
    if nodes is not None:
        config["TRAINER"] = {
            key: value
            for key, value in config["TRAINER"].items()
            if key in nodes or not isinstance(value, Mapping)
        }
    return config


def default_config() -> CfgNode:
    """Dassl's configuration with what the trainers add to it."""
    from . import extend_cfg

    cfg = get_cfg_default()
    extend_cfg(cfg)
    return cfg


def differing_keys(
    old: Mapping[str, Any], new: Mapping[str, Any], defaults: CfgNode | None = None
) -> list[str]:
    """The keys, with both values, in which two configurations describe different experiments.

    Nodes of methods that the runs do not use are left out, whoever wrote them. A key that one side
    lacks, since it is newer than that side, counts as today's default.

    Args:
        old, new: configurations as `plain_config` or `used_config` gives them.
        defaults: of all keys; without it, `default_config`.
    """
    old, new = _flat(old), _flat(new)
    if old == new:
        return []
    if "best_val" not in (old.get(_FINAL_MODEL), new.get(_FINAL_MODEL)):
        for config in (old, new):
            config.pop("TEST.NO_TEST", None)
    known = _ADDED_BY_OUR_ENGINE | _flat(plain_config(defaults or default_config()))
    trainers = old.get("TRAINER.NAME"), new.get("TRAINER.NAME")
    used = {node for name in trainers for node in used_nodes(name) or ()}
    return [
        f"{key} was {was!r} and is {now!r}"
        for key in sorted(old.keys() | new.keys())
        if (was := old.get(key, known.get(key))) != (now := new.get(key, known.get(key)))
        and (node_of(key) is None or not used or node_of(key) in used)
    ]


def used_nodes(trainer: str | None) -> tuple[str, ...] | None:
    """The nodes of TRAINER that a trainer reads; None for a trainer of others."""
    if trainer not in TRAINER_REGISTRY.registered_names():
        return None
    nodes = getattr(TRAINER_REGISTRY.get(trainer), "nodes", None)
    return nodes and tuple(nodes())


def node_of(key: str) -> str | None:
    """COOP for TRAINER.COOP.N_CTX; None for what belongs to no method."""
    first, *rest = key.split(".")
    return rest[0] if first == "TRAINER" and len(rest) > 1 else None


def _flat(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config_items(config) if not key.startswith(_IRRELEVANT)}


def config_items(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every key of nested dicts, such as OPTIM.LR, and its value; tuples become lists."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from config_items(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", list(value) if isinstance(value, tuple) else value


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
        "config": used_config(trainer.given_cfg),
    }
    text = json.dumps(results, indent=2)
    write_atomically(
        Path(cfg.OUTPUT_DIR, RESULTS_FILE), lambda t: t.write_text(f"{text}\n", encoding="utf-8")
    )
