"""Training on the images of all classes, without labels, whichever of them are tested."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .periodic_tests import data_manager
from .repeatable import seed_loaders

if TYPE_CHECKING:
    from .prompt_trainer import PromptTrainer

_ON_TEST = (
    "TEST.FINAL_MODEL best_val: as in the published code the epoch is kept that is best on the *test* "
    "images of these classes, so that accuracy on them is optimistic. TEST.FINAL_MODEL last_step "
    "takes the last epoch, SELECT_ON_TEST False selects on validation images"
)


def train_on_all_classes(trainer: PromptTrainer) -> None:
    """Give a trainer the training images of all classes; it is tested on its own ones as before."""
    everything = data_manager(trainer, "all")
    trainer.train_loader_x = everything.train_loader_x
    seed_loaders(trainer)
    # the record of a run's pictures is of what it trains on
    trainer.dm.dataset._train_x = everything.dataset.train_x
    trainer.model.trained_classes = list(everything.dataset.classnames)
    print(
        f"Training on the {len(everything.dataset.train_x)} images of all classes, without labels"
    )


def select_on_test(trainer: PromptTrainer) -> None:
    """Let TEST.FINAL_MODEL best_val select on the test images, and say so."""
    if trainer.cfg.TEST.FINAL_MODEL == "best_val":
        trainer.val_loader = trainer.test_loader
        print(_ON_TEST)
