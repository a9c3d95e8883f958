"""Building a dataset from its configured name."""

from __future__ import annotations

from dassl.utils import Registry, check_availability
from yacs.config import CfgNode

from .base_dataset import DatasetBase

__all__ = ["DATASET_REGISTRY", "build_dataset"]

DATASET_REGISTRY = Registry("DATASET")


def build_dataset(cfg: CfgNode) -> DatasetBase:
    """The dataset ``cfg.DATASET.NAME``.

    Raises:
        InputError: no dataset of that name is registered.
    """
    check_availability(cfg.DATASET.NAME, DATASET_REGISTRY.registered_names())
    if cfg.VERBOSE:
        print(f"Loading dataset: {cfg.DATASET.NAME}")
    return DATASET_REGISTRY.get(cfg.DATASET.NAME)(cfg)
