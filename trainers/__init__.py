"""Prompt-learning trainers for Dassl. Importing this package registers all of them.

A method is found by its file being here, so that one is added or removed with that file.
"""

import importlib
import pkgutil
from functools import reduce

from yacs.config import CfgNode

from .compiled_step import EAGER
from .config import add_nodes
from .prompt_trainer import PromptTrainer, known_trainers

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")


def extend_cfg(cfg: CfgNode) -> None:
    """Add every trainer's nodes and four keys; what is there already stays.

    DATASET.SUBSAMPLE_CLASSES: all, base or new. TEST.EVERY: test base and new classes every so many
    epochs; 0 for never. MODEL.BACKBONE.ACTIVATION: of weights that do not say it. TRAIN.STEP: how a
    step is computed (`compiled_step.Step`).
    """
    for trainer in known_trainers():
        add_nodes(cfg, trainer.nodes())
        for key, default in trainer.accepted_keys.items():
            *path, name = key.split(".")
            reduce(getattr, path, cfg).setdefault(name, default)
        for published, own in trainer.published_keys.items():
            if not cfg.key_is_renamed(published):
                cfg.register_renamed_key(published, own)
    cfg.DATASET.setdefault("SUBSAMPLE_CLASSES", "all")
    cfg.TEST.setdefault("EVERY", 0)
    cfg.MODEL.BACKBONE.setdefault("ACTIVATION", "")
    cfg.TRAIN.setdefault("STEP", EAGER)


__all__ = ["PromptTrainer", "extend_cfg", "known_trainers"]
