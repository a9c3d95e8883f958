"""The configuration that the trainers add to Dassl's, with the published names and defaults."""

from __future__ import annotations

import operator
from collections import ChainMap
from collections.abc import Mapping
from typing import Any

from yacs.config import CfgNode

from prompting.errors import InputError

_HOLDS = {
    "at_least": operator.ge,
    "more_than": operator.gt,
    "at_most": operator.le,
    "one_of": lambda value, known: value in known,
}
"""By the name of a class attribute, whether a value keeps to it."""

_MOST = 10_000
"""Of vectors, layers, dimensions or whatever else a method counts; an encoder reads far fewer."""


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


def refused(node: str, key: str, value: Any, expected: str) -> InputError:
    """The error for a value that TRAINER.<NODE>.<KEY> may not have."""
    return InputError(f"TRAINER.{node}.{key} is {value}: expected {expected}")


def check_values(method: type, node: str, values: Mapping[str, Any]) -> None:
    """Refuse values of a node that a method, or one that it is built on, does not allow.

    Raises:
        InputError: names the first of them.
    """
    for key, value in values.items():
        if type(value) is int and value > _MOST:
            raise refused(node, key, value, f"at most {_MOST}")
    for kind, holds in _HOLDS.items():
        allowed = ChainMap(*(vars(base).get(kind, {}) for base in method.__mro__))
        for key, bound in allowed.items():
            if key in values and not holds(values[key], bound):
                said = ", ".join(bound) if kind == "one_of" else bound
                raise refused(node, key, values[key], f"{kind.replace('_', ' ')} {said}")
