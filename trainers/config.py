"""The configuration that the trainers add to Dassl's, with the published names and defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from yacs.config import CfgNode


def add_nodes(cfg: CfgNode, nodes: Mapping[str, Mapping[str, Any]]) -> None:
    """Add the nodes TRAINER.<NODE> with their defaults; what is there already stays."""
    for node, defaults in nodes.items():
        there = cfg.TRAINER.setdefault(node, CfgNode())
        for key, value in defaults.items():
            there.setdefault(key, value)


def options(cfg: CfgNode, node: str, defaults: Mapping[str, Any]) -> CfgNode:
    """TRAINER.<NODE>, completed by our defaults where another extend_cfg made the node."""
    completed = CfgNode(dict(defaults))
    completed.update(cfg.TRAINER.get(node, {}))
    return completed
