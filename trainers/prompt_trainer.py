"""What all methods share: building on a frozen CLIP, precision, training steps, saving, resuming."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from dassl.metrics import compute_accuracy
from dassl.optim import build_lr_scheduler, build_optimizer
from torch import Tensor
from tqdm import tqdm

from prompting.backbone import CLIP, load_clip
from prompting.class_prompts import PromptTemplate
from prompting.errors import InputError, NotFiniteError
from prompting.feature_store import compute_all
from prompting.known_images import Images, KnownImages
from prompting.learned_state import check_complete
from prompting.learner import PromptLearner
from prompting.precision import resolve_precision
from prompting.prompted_clip import PromptedCLIP, TextTeacher

from . import compiled_step, image_input, resume, run_folder
from .config import check_values, options, refused
from .curves import Curves
from .manifest import write_manifest
from .periodic_tests import PeriodicTests
from .repeatable import seed_loaders
from .results import write_results
from .saving import SavedTraining
from .stored_images import STORED, TESTS, TRAINING, FrozenEncoder, StoredImages


def known_trainers(base: type[PromptTrainer] | None = None) -> Iterator[type[PromptTrainer]]:
    """All classes of methods, those that other methods build on first."""
    for trainer in (base or PromptTrainer).__subclasses__():
        yield trainer
        yield from known_trainers(trainer)


class PromptTrainer(SavedTraining):
    """A Dassl trainer of a prompt-learning method.

    A method states, as class attributes:
        node, defaults: its configuration node TRAINER.<node> and the keys in it.
        more_nodes: further nodes with their defaults, where it has any.
        at_least, more_than, at_most, one_of: what the values of its keys may be.
        accepted_keys: keys beside its own, with their defaults, that published command lines give.
        published_keys: published keys that are spelt otherwise here, and ours.
        checkpoint_name, saved_module, published_unused: see `SavedTraining`.
        learns: whether there is anything to train.
        by_steps: whether it learns by steps over batches; if not, `run_epoch` is its own, and the last
            epoch is the only one.
        views: how many augmented views of a training image a step takes.
        frozen_view: which of them, from 1, a frozen encoder sees in training; None where none does.
        training_classes: SUBSAMPLE_CLASSES of what is trained on, where that is not what is tested.
        model_class: how logits come about.
    and overrides `build_template` and `build_learner`, and what else differs from CoOp's way: see
    docs/add_a_method.md.
    """

    node: str
    defaults: ClassVar[Mapping[str, Any]] = {}
    more_nodes: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    accepted_keys: ClassVar[Mapping[str, Any]] = {}
    published_keys: ClassVar[Mapping[str, str]] = {}
    at_least: ClassVar[Mapping[str, float]] = {}
    more_than: ClassVar[Mapping[str, float]] = {}
    at_most: ClassVar[Mapping[str, float]] = {}
    one_of: ClassVar[Mapping[str, Sequence[str]]] = {}
    learns = True
    by_steps = True
    views = 1
    frozen_view: ClassVar[int | None] = None
    training_classes = ""
    model_class: type[PromptedCLIP] = PromptedCLIP

    # -- what a method says -------------------------------------------------------------------------

    def build_template(self) -> PromptTemplate:
        """How every class is asked, and which positions are learned context."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it asks for a class")

    def build_learner(self, clip: CLIP, names: Sequence[str]) -> PromptLearner:
        """What is learned, at its starting values."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it learns")

    def teacher_templates(self) -> Sequence[str]:
        """Templates of the frozen teacher, whose features `self.model.teacher_text()` gives; none by
        default."""
        return ()

    def build_teacher(self) -> Callable[[Sequence[str]], Tensor] | None:
        """What gives the teacher's normalised text features of class names."""
        templates = self.teacher_templates()
        if not templates:
            return None
        longest = max(self.dm.dataset.classnames, key=len)
        for template in templates:  # it asks on first use, when files have been written
            PromptTemplate(template).layout([longest], self.clip.context_length)
        return TextTeacher(templates, self.clip_in_fp32, self.fetch_texts)

    def frozen_encoder(self) -> FrozenEncoder:
        """The image encoder that sees `frozen_view`; by default the trainer's own CLIP."""
        return self.stored.frozen_clip()

    def parameter_groups(self) -> list[dict[str, Any]] | None:
        """Groups of the optimizer, with rates of their own; None for one group of all."""
        return None

    def compute_loss(self, images: Images, labels: Tensor) -> tuple[Any, dict[str, Tensor]]:
        """The loss of a batch and its parts to be logged; by default cross entropy.

        Args:
            images: (B, 3, H, W), or known; what the model's methods take. A tuple of them where `views`
                is more than one.
            labels: (B,).

        Returns:
            the loss, or several, the first of them the one that is logged, for a `backward` of the
            method's own; and the parts.
        """
        logits = self.model(images)
        return F.cross_entropy(logits, labels), {"acc": compute_accuracy(logits, labels)[0]}

    def backward(self, loss: Any) -> dict[str, Tensor]:
        """Turn what `compute_loss` gave into gradients, times the scaler's factor; returns further
        parts to be logged."""
        self.scaler.scale(loss).backward()
        return {}

    # -- building -----------------------------------------------------------------------------------

    @classmethod
    def nodes(cls) -> dict[str, Mapping[str, Any]]:
        """The configuration nodes that the method uses, with their defaults, its own first."""
        return {cls.node: cls.defaults, **cls.more_nodes} if hasattr(cls, "node") else {}

    @property
    def options(self):
        """The method's configuration node."""
        return self.options_of(self.node)

    def options_of(self, node: str):
        """One of the method's configuration nodes."""
        return options(self.cfg, node, self.nodes()[node])

    def check_cfg(self, cfg) -> None:
        run_folder.check(cfg)
        compiled_step.check(cfg.TRAIN.get("STEP", compiled_step.EAGER))
        # the device is not set when Dassl asks; precision on this device is checked in build_model
        if len(cfg.INPUT.SIZE) != 2:
            raise InputError(f"INPUT.SIZE is {cfg.INPUT.SIZE}: expected (height, width)")
        if cfg.INPUT.NO_TRANSFORM:
            raise InputError(
                "INPUT.NO_TRANSFORM is True: CLIP takes tensors, which transforms make of pictures; "
                "leave it False"
            )
        if self.learns and self.views != cfg.DATALOADER.K_TRANSFORMS:
            raise InputError(
                f"DATALOADER.K_TRANSFORMS is {cfg.DATALOADER.K_TRANSFORMS}: {type(self).__name__} "
                f"takes {self.views} view(s) of a training image; set it to {self.views}"
            )
        for node, defaults in self.nodes().items():
            check_values(type(self), node, options(cfg, node, defaults))

    def expect(self, key: str, holds: bool, expected: str) -> None:
        """Refuse the value of a key of the method's own node, unless something holds.

        Raises:
            InputError: it does not; names the key, its value, and what was expected.
        """
        if not holds:
            raise refused(self.node, key, self.options[key], expected)

    def build_data_loader(self) -> None:
        self.load_backbone()
        super().build_data_loader()
        seed_loaders(self)

    def load_backbone(self) -> None:
        """Load the frozen CLIP, which comes before the data: it may say what images it takes.

        `cfg` then says what is computed; `given_cfg`, as it was given, tells runs apart.
        """
        print(f"Loading CLIP (backbone: {self.cfg.MODEL.BACKBONE.NAME})")
        self.clip = self._load_clip()
        for note in self.clip.notes:
            print(f"note: {note}")
        self.given_cfg, self.cfg = self.cfg, image_input.fitted(self.cfg, self.clip)

    def _load_clip(self) -> CLIP:
        backbone = self.cfg.MODEL.BACKBONE
        return load_clip(backbone.NAME, backbone.get("ACTIVATION", ""))

    def build_model(self) -> None:
        cfg, clip = self.cfg, self.clip
        self.precision = resolve_precision(self.options.PREC, self.device)
        self.curves = Curves()
        self.periodic_tests: PeriodicTests | None = None
        names = list(self.dm.dataset.classnames)
        self.stored = StoredImages(self)
        self.teacher = self.build_teacher()
        learner = self.build_learner(clip, names)
        check_complete(learner)
        self.model = self.model_class(clip, learner, self.build_template(), names, self.teacher)
        self.precision.cast(clip)
        self.model.to(self.device)
        self.keep_learned(self.model)
        self.scaler = self.precision.scaler()
        if self.learns:
            print(f"Learned parameters: {sum(p.numel() for p in learner.parameters()):,}")
            self.optim = build_optimizer(learner, cfg.OPTIM, self.parameter_groups())
            self.sched = build_lr_scheduler(self.optim, cfg.OPTIM)
            self.register_model(self.checkpoint_name, learner, self.optim, self.sched)

    def model_on(self, dataset: str) -> PromptedCLIP:
        """The model as it would be on another dataset, whose template and teacher may be others, with
        what is learned shared.

        Args:
            dataset: registered name.
        """
        there = copy.copy(self)
        there.cfg = self.cfg.clone()
        there.cfg.defrost()
        there.cfg.DATASET.NAME = dataset
        there.teacher = there.build_teacher()
        return self.model.asked_otherwise(there.build_template(), there.teacher)

    def clip_in_fp32(self) -> CLIP:
        """The frozen CLIP with the stored weights in fp32, whatever the precision."""
        if self.precision.weights == torch.float32:
            return self.model.clip
        return self._load_clip().to(self.device)

    def fetch_texts(self, keys: Sequence[object], compute: Callable[[list[int]], Tensor]) -> Tensor:
        """Text features of the frozen CLIP in fp32, from the store: `prompting.feature_store.Fetch`."""
        if not self.stored.options["TEXTS"]:
            return compute_all(keys, compute)
        clip = self.model.clip
        fetch = self.stored.store.texts(clip.fingerprint, clip.embed_dim, self.device)
        return fetch(keys, compute)

    # -- training -----------------------------------------------------------------------------------

    def before_train(self) -> None:
        if getattr(self.dm.dataset, "test_only", False):
            raise InputError(
                f"{self.cfg.DATASET.NAME} has test images, but no training images: it can be tested "
                "on (--eval-only), not trained on. Add training images to train"
            )
        if self.cfg.TEST.FINAL_MODEL == "best_val" and self._validates_on_test():
            print(
                "TEST.FINAL_MODEL best_val: the epoch is kept that is best on the *test* images, so "
                "that accuracy on them is optimistic; last_step takes the last epoch"
            )
        self.trains = True
        run_folder.begin(self.given_cfg, "training", self.dm.dataset)
        super().before_train()
        if self.by_steps:
            self.train_loader_x = self.stored.for_training(self.train_loader_x)
        else:
            self.start_epoch = max(self.start_epoch, self.max_epoch - 1)
        self.curves.resume(self.resumed_from, self.start_epoch)

    def _validates_on_test(self) -> bool:
        """As with datasets that have no validation images of their own, such as ImageNet."""
        dataset = self.dm.dataset
        return self.val_loader is self.test_loader or dataset.val is dataset.test

    def before_epoch(self) -> None:
        super().before_epoch()
        self.train_loader_x.set_epoch(self.epoch)
        self.step.start_epoch()

    def run_epoch(self) -> None:
        learning_rate = self.get_current_lr()
        self.curves.start_epoch_anew()
        super().run_epoch()
        self.curves.end_epoch(self.epoch + 1, learning_rate)

    def forward_backward(self, batch: dict) -> dict[str, float]:
        loss, parts = self.step(*self.parse_batch_train(batch))
        self.scaler.step(self.optim)
        self.scaler.update()
        if self.batch_idx + 1 == self.num_batches:
            self.update_lr()
        values = {"loss": loss if isinstance(loss, Tensor) else loss[0], **parts}
        # read together: every read waits for the device
        read = torch.stack([value.detach().reshape(()) for value in values.values()]).tolist()
        summary = dict(zip(values, read, strict=True))
        if not math.isfinite(summary["loss"]):
            raise NotFiniteError(
                f"the loss is {summary['loss']} at step {self.batch_idx + 1} of epoch "
                f"{self.epoch + 1}: lower OPTIM.LR, or compute in fp32 or bf16. Earlier epochs are kept"
            )
        self.curves.add_step(summary)
        return summary

    @cached_property
    def step(self) -> compiled_step.Step:
        """Loss, parts and gradients of a batch."""
        return compiled_step.Step(self)

    def differentiate(
        self, compute_loss: Callable, images: Any, labels: Tensor
    ) -> tuple[Any, dict[str, Tensor]]:
        """Set the gradients by `compute_loss` or another form of it; returns loss and all parts."""
        self.model_zero_grad()  # before: a graph overwrites the gradients that it gave
        with self.precision.autocast():
            loss, parts = compute_loss(images, labels)
        return loss, {**parts, **self.backward(loss)}

    def parse_batch_train(self, batch: dict) -> tuple[Images | tuple[Images, ...], Tensor]:
        """Images, a tuple of the views where there are several, and labels (B,). A view is
        (B, 3, H, W), or `KnownImages` where the store serves it."""
        labels = batch["label"].to(self.device, non_blocking=True)
        known = self.stored.complete(batch, TRAINING) if STORED in batch else None
        if known is not None and not batch[STORED]["pictures"]:
            return KnownImages(known), labels
        # several views are a list; several transforms, one view each, are entries of their own
        given = batch["img"]
        if not isinstance(given, (list, tuple)):
            given = [given, *(batch[f"img{view}"] for view in range(2, self.views + 1))]
        views: list[Images] = [each.to(self.device, non_blocking=True) for each in given]
        if known is not None:
            views[self.frozen_view - 1] = KnownImages(known, views[self.frozen_view - 1])
        return (tuple(views) if self.views > 1 else views[0]), labels

    def parse_batch_test(self, batch: dict) -> tuple[Images, Tensor]:
        labels = batch["label"].to(self.device, non_blocking=True)
        if STORED in batch:
            return KnownImages(self.stored.complete(batch, TESTS)), labels
        return batch["img"].to(self.device, non_blocking=True), labels

    def after_epoch(self) -> None:
        self.test_periodically()
        self.curves.save(self.output_dir)
        # validation may draw: the first one of a process by what it imports, so that a run that goes on
        # would draw once more than an unbroken one
        with resume.kept_random_state():
            super().after_epoch()
        if self.epoch + 1 < self.max_epoch:
            resume.save(self._resume_path(self.output_dir), self.resume_state())
        else:
            self._resume_path(self.output_dir).unlink(missing_ok=True)

    # -- testing ------------------------------------------------------------------------------------

    def prompts_to_test(self) -> dict[str, dict[str, Tensor]]:
        """What TEST.EVERY tests, by name: learned tensors by their names in files."""
        return {"current": self.learned.copy()}

    def test_periodically(self) -> None:
        """Every TEST.EVERY epochs, test base and new classes; the training does not notice."""
        every, epoch = self.cfg.TEST.get("EVERY", 0), self.epoch + 1
        if every < 1 or epoch % every or self.curves.tested(epoch):
            return
        with resume.kept_random_state():
            if self.periodic_tests is None:
                self.periodic_tests = PeriodicTests(self)
            self.periodic_tests.run(self, self.prompts_to_test())

    def model_inference(self, input: Images) -> Tensor:
        with self.precision.autocast():
            return self.model(input)

    def logits_of(self, split: str) -> Iterator[tuple[Tensor, Tensor]]:
        """Logits (B, C) and labels (B,) of the images of a split, batch by batch."""
        loader = self.val_loader if split == "val" else self.test_loader
        for batch in tqdm(self.stored.for_tests(loader), desc=split, disable=None, leave=False):
            images, labels = self.parse_batch_test(batch)
            yield self.model_inference(images), labels

    @torch.no_grad()
    def test(self, split: str | None = None) -> float:
        """Evaluate a split ("test" or "val"), write results.json, and return the first metric."""
        self.set_model_mode("eval")
        self.evaluator.reset()
        split = split or self.cfg.TEST.SPLIT
        there = ["test"] if self.val_loader is None else ["test", "val"]
        if split not in there:
            raise InputError(
                f'There is no split "{split}" of {self.cfg.DATASET.NAME} to test on: set TEST.SPLIT '
                f"to {' or '.join(there)}"
            )
        if not self.trains:
            run_folder.begin(self.given_cfg, "test", self.dm.dataset, [split])
        print(f"Evaluate on the *{split}* set")
        total, start = 0, time.perf_counter()
        for logits, labels in self.logits_of(split):
            self.evaluator.process(logits, labels)
            total += len(labels)
        metrics = self.evaluator.evaluate()
        for name, value in metrics.items():
            self.write_scalar(f"{split}/{name}", value, self.epoch)
        # the manifest says what the results are of: killed in between, none is taken for the other's
        seconds = time.perf_counter() - start
        write_results(self, split, total, metrics)
        write_manifest(self, seconds)
        return next(iter(metrics.values()))
