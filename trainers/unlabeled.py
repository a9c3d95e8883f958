"""Learning from a teacher on the images of all classes, without labels, whichever are tested."""

from __future__ import annotations

from typing import ClassVar

import torch
from dassl.data import DatasetWrapper
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from prompting.known_images import KnownImages
from prompting.prompted_teacher import PromptedTeacher

from .ivlp import DeepPromptTrainer
from .periodic_tests import data_manager
from .prompt_trainer import PromptTrainer
from .repeatable import seed_loaders
from .stored_images import FrozenEncoder
from .teachers import find_teacher
from .transforms import random_transforms


class UnlabeledTrainer(DeepPromptTrainer):
    """What such methods have in common.

    teacher_method is what trains the teacher that TEACHER names. `compute_loss` gets, for images, the
    pair of images (B, 3, H, W) and the teacher's features of them, (B, embed_dim). These are computed
    once where nothing changes the images between epochs. With SELECT_ON_TEST, TEST.FINAL_MODEL best_val
    selects on test images.
    """

    teacher_method: ClassVar[type[PromptTrainer]]
    frozen_view = 1
    training_classes = "all"
    teacher: PromptedTeacher
    kept: Tensor | None = None

    def build_teacher(self) -> PromptedTeacher:
        return find_teacher(self, self.teacher_method)

    def frozen_encoder(self) -> FrozenEncoder:
        teacher = self.teacher
        width = teacher.model.clip.embed_dim
        return FrozenEncoder(teacher.fingerprint, teacher.encode_images, width, torch.float32)

    def before_train(self) -> None:
        everything = data_manager(self, self.training_classes)
        self.train_loader_x = everything.train_loader_x
        if not self.stored.options["TRAINING"]:
            self.kept = self._features_of_all(self.train_loader_x.dataset)
        seed_loaders(self)
        images = everything.dataset.train_x
        # the record of a run's pictures is of what it trains on
        self.dm.dataset._train_x = images
        self.model.trained_classes = list(everything.dataset.classnames)
        print(f"Training on the {len(images)} images of all classes, without labels")
        if self.options.SELECT_ON_TEST and self.cfg.TEST.FINAL_MODEL == "best_val":
            self.val_loader = self.test_loader
            print(
                f"Validating on the test images, as the published code does; TRAINER.{self.node}."
                "SELECT_ON_TEST False validates on validation images"
            )
        super().before_train()

    @torch.no_grad()
    def _features_of_all(self, images: DatasetWrapper) -> Tensor | None:
        """The teacher's features of the training images, (N, embed_dim) on the CPU; None where they
        change from epoch to epoch."""
        options = self.cfg.DATALOADER
        if random := random_transforms(self.cfg):
            print(f"The teacher sees every image anew at each step: {', '.join(random)} change it")
            return None
        print("The teacher sees every image once: nothing changes it from epoch to epoch")
        same = DatasetWrapper(self.cfg, images.data_source, images.transform, is_train=False)
        loader = DataLoader(same, options.TEST.BATCH_SIZE, num_workers=options.NUM_WORKERS)
        with self.precision.autocast():
            batches = [
                self.teacher.encode_images(batch["img"].to(self.device)).cpu()
                for batch in tqdm(loader, desc="teacher", disable=None, leave=False)
            ]
        return torch.cat(batches)

    def parse_batch_train(self, batch: dict) -> tuple[tuple[Tensor, Tensor], Tensor]:
        images, labels = super().parse_batch_train(batch)
        if isinstance(images, KnownImages):
            return (images.pixels, images.features), labels
        if self.kept is not None:
            return (images, self.kept[batch["index"]].to(self.device)), labels
        with self.precision.autocast():
            return (images, self.teacher.encode_images(images)), labels
