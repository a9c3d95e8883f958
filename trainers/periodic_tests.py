"""TEST.EVERY: tests of base and new classes during training, which leave the training as it is."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from dassl.data import DataManager
from torch import Tensor

from prompting.prompted_clip import PromptedCLIP, PromptLearner

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .prompt_trainer import PromptTrainer


class PeriodicTests:
    """Tests a trainer's prompts on the test images of all its class subsets.

    A run on base classes is tested on base and on new classes, any other on its own classes.
    Everything is built beside the trainer's own loaders and model, from copies of the prompts, so
    that nothing the training depends on is touched; the caller keeps the random states.
    """

    def __init__(self, trainer: PromptTrainer) -> None:
        subset = trainer.cfg.DATASET.get("SUBSAMPLE_CLASSES", "all")
        self.subsets = ("base", "new") if subset == "base" else (subset,)
        if getattr(trainer, "class_specific", False) and "new" in self.subsets:
            print("TEST.EVERY: class-specific contexts cannot serve the new classes, only base")
            self.subsets = ("base",)
        self.data = {
            each: trainer.dm if each == subset else _data_manager(trainer, each)
            for each in self.subsets
        }

    @torch.no_grad()
    def run(self, trainer: PromptTrainer, prompts: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Test each of the prompts and put the accuracies (percent) into the trainer's curves."""
        for subset, data in self.data.items():
            names = list(data.dataset.classnames)
            _, layout = trainer.build_prompts(trainer.model.clip, names)
            for which, tensors in prompts.items():
                learner = _copy_of_learner(trainer, tensors)
                model = trainer.model_class(trainer.model.clip, learner, layout)
                model.to(trainer.device).eval()
                correct, total = _count_correct(trainer, model, data)
                accuracy = 100 * correct / total
                epoch = trainer.epoch + 1
                trainer.curves.add_test(
                    epoch=epoch, prompts=which, classes=subset, total=total, accuracy=accuracy
                )
                print(f"after epoch {epoch}, {which} prompts, {subset} classes: {accuracy:.1f}%")


def _data_manager(trainer: PromptTrainer, subset: str) -> DataManager:
    cfg = trainer.cfg.clone()
    cfg.defrost()
    cfg.DATASET.SUBSAMPLE_CLASSES = subset
    cfg.VERBOSE = False
    cfg.freeze()
    return DataManager(cfg)


def _copy_of_learner(trainer: PromptTrainer, tensors: Mapping[str, Tensor]) -> PromptLearner:
    """The trainer's prompt learner with other values, given by published name."""
    learner = trainer.model.prompt_learner
    copied = copy.deepcopy(learner)
    values = {id(p): tensors[name] for name, p in trainer.learned_tensors().items()}
    for original, parameter in zip(learner.parameters(), copied.parameters(), strict=True):
        parameter.copy_(values[id(original)])
    return copied


def _count_correct(
    trainer: PromptTrainer, model: PromptedCLIP, data: DataManager
) -> tuple[int, int]:
    correct = total = 0
    for batch in data.test_loader:
        images, labels = trainer.parse_batch_test(batch)
        with trainer.precision.autocast():
            predicted = model(images).argmax(1)
        correct += int((predicted == labels).sum())
        total += len(labels)
    return correct, total
