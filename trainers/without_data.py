"""A trainer of any method for given class names, with no dataset behind it."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

from dassl.engine import TRAINER_REGISTRY
from yacs.config import CfgNode

from .prompt_trainer import PromptTrainer


def build_without_data(cfg: CfgNode, names: Sequence[str]) -> PromptTrainer:
    """The trainer that cfg.TRAINER.NAME names, for these classes; the caller brings the images."""
    registered = TRAINER_REGISTRY.get(cfg.TRAINER.NAME)

    def build_data_loader(self) -> None:
        self.load_backbone()
        self.dm = SimpleNamespace(dataset=SimpleNamespace(classnames=list(names)))
        self.train_loader_x = self.train_loader_u = self.val_loader = self.test_loader = None
        self.num_classes, self.lab2cname = len(names), dict(enumerate(names))
        self.num_source_domains = 0

    # of the same name, which checkpoints state
    return type(registered.__name__, (registered,), {"build_data_loader": build_data_loader})(cfg)
