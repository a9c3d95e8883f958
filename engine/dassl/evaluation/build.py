"""Building an evaluator from its configured name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dassl.utils import Registry, check_availability
from yacs.config import CfgNode

if TYPE_CHECKING:
    from .evaluator import EvaluatorBase

__all__ = ["EVALUATOR_REGISTRY", "build_evaluator"]

EVALUATOR_REGISTRY = Registry("EVALUATOR")


def build_evaluator(cfg: CfgNode, **kwargs: Any) -> EvaluatorBase:
    """The evaluator ``cfg.TEST.EVALUATOR``; ``kwargs`` go to it.

    Raises:
        InputError: no evaluator of that name is registered.
    """
    check_availability(cfg.TEST.EVALUATOR, EVALUATOR_REGISTRY.registered_names())
    if cfg.VERBOSE:
        print(f"Loading evaluator: {cfg.TEST.EVALUATOR}")
    return EVALUATOR_REGISTRY.get(cfg.TEST.EVALUATOR)(cfg, **kwargs)
