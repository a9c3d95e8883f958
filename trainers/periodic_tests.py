"""TEST.EVERY: tests of base and new classes during training, which leave the training as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from dassl.data import DataManager
from torch import Tensor

from prompting.prompted_clip import PromptedCLIP

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .prompt_trainer import PromptTrainer


class PeriodicTests:
    """Tests a trainer's prompts on the test images of all its class subsets.

    A run on base classes is tested on base and on new classes, any other on its own classes. The
    training does not notice: its loaders are not used, its tensors get their values back, and the
    caller keeps the random states.
    """

    def __init__(self, trainer: PromptTrainer) -> None:
        subset = trainer.cfg.DATASET.get("SUBSAMPLE_CLASSES", "all")
        self.subsets = ("base", "new") if subset == "base" else (subset,)
        if trainer.model.bound_to_classes and "new" in self.subsets:
            print("TEST.EVERY: what is learned cannot serve the new classes, only base")
            self.subsets = ("base",)
        self.data = {
            each: trainer.dm if each == subset else data_manager(trainer, each)
            for each in self.subsets
        }
        self.models = {
            each: trainer.model.with_classes(data.dataset.classnames)
            for each, data in self.data.items()
        }

    @torch.no_grad()
    def run(self, trainer: PromptTrainer, prompts: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Test each of the prompts and put the accuracies (percent) into the trainer's curves."""
        trainer.set_model_mode("eval")
        epoch = trainer.epoch + 1
        for which, tensors in prompts.items():
            with trainer.with_learned(tensors):
                for subset, data in self.data.items():
                    correct, total = _count_correct(trainer, self.models[subset], data)
                    accuracy = 100 * correct / total
                    trainer.curves.add_test(
                        epoch=epoch, prompts=which, classes=subset, total=total, accuracy=accuracy
                    )
                    print(
                        f"after epoch {epoch}, {which} prompts, {subset} classes: {accuracy:.1f}%"
                    )
        trainer.set_model_mode("train")


def data_manager(trainer: PromptTrainer, subset: str) -> DataManager:
    """The data of a trainer with another subset of the classes."""
    cfg = trainer.cfg.clone()
    cfg.defrost()
    cfg.DATASET.SUBSAMPLE_CLASSES = subset
    cfg.VERBOSE = False
    cfg.freeze()
    return DataManager(cfg)


def _count_correct(
    trainer: PromptTrainer, model: PromptedCLIP, data: DataManager
) -> tuple[int, int]:
    correct = total = 0
    for batch in trainer.stored.for_tests(data.test_loader):
        images, labels = trainer.parse_batch_test(batch)
        with trainer.precision.autocast():
            predicted = model(images).argmax(1)
        correct += int((predicted == labels).sum())
        total += len(labels)
    return correct, total
