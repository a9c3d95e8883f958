"""The training loop in small steps, each of which a trainer may replace."""

from __future__ import annotations

import datetime
import os
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from dassl.data import DataManager
from dassl.evaluation import build_evaluator
from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.utils import (
    AverageMeter,
    InputError,
    MetricMeter,
    count_num_param,
    load_checkpoint,
    load_pretrained_weights,
    resume_from_checkpoint,
    save_checkpoint,
    tolist_if_not,
)
from dassl.utils.errors import NotFiniteError
from dassl.utils.tools import remove_unfinished_files
from dassl.utils.torchtools import load_weights
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm
from yacs.config import CfgNode

from .checks import check_options, check_split, check_training
from .simple_net import SimpleNet

__all__ = ["SimpleNet", "SimpleTrainer", "TrainerBase", "TrainerX", "TrainerXU"]

_BEST_MODEL = "model-best.pth.tar"


def __getattr__(name: str) -> Any:
    # trainers import it from here; tensorboard takes long to import, and may be absent
    if name == "SummaryWriter":
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class TrainerBase:
    """Named models with their optimizers and schedulers, their checkpoints, and the epoch loop."""

    def __init__(self) -> None:
        self._models: OrderedDict[str, nn.Module] = OrderedDict()
        self._optims: OrderedDict[str, torch.optim.Optimizer | None] = OrderedDict()
        self._scheds: OrderedDict[str, Any] = OrderedDict()
        self._writer = None

    def register_model(
        self,
        name: str = "model",
        model: nn.Module | None = None,
        optim: torch.optim.Optimizer | None = None,
        sched: Any = None,
    ) -> None:
        """Put a model under the care of the trainer: modes, updates, rates and checkpoints.

        Raises:
            RuntimeError: ``super().__init__()`` has not run yet.
            ValueError: the name is taken.
        """
        if "_models" not in self.__dict__:
            raise RuntimeError("Cannot register a model before super().__init__() was called")
        if name in self._models:
            raise ValueError(f'A model is already registered as "{name}"; choose another name')
        for table, value in ((self._models, model), (self._optims, optim), (self._scheds, sched)):
            table[name] = value

    def get_model_names(self, names: str | list[str] | None = None) -> list[str]:
        """``names`` as a list after a check that they are registered; by default all.

        Raises:
            ValueError: one is not registered.
        """
        registered = list(self._models)
        if names is None:
            return registered
        names = tolist_if_not(names)
        for name in names:
            if name not in registered:
                raise ValueError(f'No model "{name}" is registered; there are {registered}')
        return names

    def save_model(
        self,
        epoch: int,
        directory: str,
        is_best: bool = False,
        val_result: float | None = None,
        model_name: str = "",
    ) -> None:
        """Write a checkpoint of every model to ``directory/NAME/model.pth.tar-(epoch + 1)``.

        Args:
            epoch: the epoch just trained, counted from 0.
            directory: the run's folder.
            is_best: also write ``model-best.pth.tar``.
            val_result: kept in the file.
            model_name: file name in place of the usual one.
        """
        for name in self.get_model_names():
            optim, sched = self._optims[name], self._scheds[name]
            save_checkpoint(
                {
                    "state_dict": self._models[name].state_dict(),
                    "epoch": epoch + 1,
                    "optimizer": None if optim is None else optim.state_dict(),
                    "scheduler": None if sched is None else sched.state_dict(),
                    # A NumPy number would not be read back as a plain value.
                    "val_result": None if val_result is None else float(val_result),
                },
                os.path.join(directory, name),
                is_best=is_best,
                model_name=model_name,
            )

    def resume_model_if_exist(self, directory: str) -> int:
        """Restore all models from the newest checkpoints of a run, where each has one.

        Returns:
            The epoch to go on with, counted from 0; 0 where there is nothing to resume.
        """
        names = self.get_model_names()
        folders = [os.path.join(directory, name) for name in names]
        if not folders or not all(
            os.path.isfile(os.path.join(folder, "checkpoint")) for folder in folders
        ):
            print("No checkpoint found, train from scratch")
            return 0
        print(f"Found checkpoint at {directory} (will resume training)")
        epochs = [
            resume_from_checkpoint(
                folder, self._models[name], self._optims[name], self._scheds[name]
            )
            for name, folder in zip(names, folders, strict=True)
        ]
        if len(set(epochs)) > 1:
            raise InputError(
                f'The checkpoints in "{directory}" are of different epochs: '
                f"{dict(zip(names, epochs, strict=True))}. The run was stopped while it saved: let "
                'the text file "checkpoint" of each model name the same epoch.'
            )
        return epochs[0]

    def load_model(self, directory: str, epoch: int | None = None) -> None:
        """Load the weights of every model.

        Args:
            directory: a run's folder; empty or ``None``: nothing is loaded, and that is said.
            epoch: read ``model.pth.tar-EPOCH``; by default ``model-best.pth.tar``.

        Raises:
            MissingCheckpoint: no such checkpoint.
            InputError: it is damaged or belongs to another model.
        """
        if not directory:
            print("Note that load_model() is skipped as no pretrained model is given")
            return
        model_file = _BEST_MODEL if epoch is None else f"model.pth.tar-{epoch}"
        for name in self.get_model_names():
            path = os.path.join(directory, name, model_file)
            checkpoint = load_checkpoint(path)
            load_weights(self._models[name], checkpoint, path)
            print(
                f"Load {path} to {name} (epoch={checkpoint['epoch']}, "
                f"val_result={checkpoint.get('val_result')})"
            )

    def set_model_mode(self, mode: str = "train", names: str | list[str] | None = None) -> None:
        """Put models into ``train`` mode or into ``eval`` (also ``test``) mode.

        Raises:
            KeyError: another mode.
        """
        if mode not in ("train", "eval", "test"):
            raise KeyError(f'Unknown mode "{mode}"; choose "train", "eval" or "test"')
        for name in self.get_model_names(names):
            self._models[name].train(mode == "train")

    def update_lr(self, names: str | list[str] | None = None) -> None:
        """Go on by one epoch in the schedules; a trainer calls it at the last batch of an epoch."""
        for name in self.get_model_names(names):
            if self._scheds[name] is not None:
                self._scheds[name].step()

    def detect_anomaly(self, loss: torch.Tensor) -> None:
        """Stop where the loss is not a number.

        Raises:
            NotFiniteError: the loss is infinite or NaN.
        """
        if not torch.isfinite(loss).all():
            raise NotFiniteError(
                "Loss is infinite or NaN! Lower OPTIM.LR, or train in a wider precision."
            )

    def init_writer(self, log_dir: str) -> None:
        """Start writing TensorBoard files to ``log_dir``; without tensorboard, say so and go on."""
        if self._writer is not None:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            print(
                'tensorboard is not installed, so no curves are written ("pip install tensorboard")'
            )
            return
        print(f"Initialize tensorboard with log_dir={log_dir}")
        try:
            self._writer = SummaryWriter(log_dir=log_dir)
        except UnicodeEncodeError:
            print("tensorboard takes folders with names in UTF-8 only, so no curves are written")

    def close_writer(self) -> None:
        """Finish the TensorBoard files."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def write_scalar(self, tag: str, value: float, step: int | None = None) -> None:
        """Write one number to TensorBoard, where there is a writer."""
        if self._writer is not None:
            self._writer.add_scalar(tag, value, step)

    def train(self, start_epoch: int, max_epoch: int) -> None:
        """Run epochs ``start_epoch`` (or where before_train resumes) to ``max_epoch``."""
        self.start_epoch = start_epoch
        self.max_epoch = max_epoch
        self.before_train()
        for epoch in range(self.start_epoch, self.max_epoch):
            self.epoch = epoch
            self._set_data_epoch()
            self.before_epoch()
            self.run_epoch()
            self.after_epoch()
        self.after_train()

    def _set_data_epoch(self) -> None:
        # Trainers of others may have built their data in another way, without epochs.
        set_epoch = getattr(getattr(self, "dm", None), "set_epoch", None)
        if set_epoch is not None:
            set_epoch(self.epoch)

    def before_train(self) -> None:
        """Called before the first epoch."""

    def after_train(self) -> None:
        """Called after the last epoch."""

    def before_epoch(self) -> None:
        """Called before every epoch."""

    def after_epoch(self) -> None:
        """Called after every epoch."""

    def run_epoch(self) -> None:
        """Train one epoch."""
        raise NotImplementedError

    def test(self, *args: Any, **kwargs: Any) -> float:
        """Test, and return the main metric."""
        raise NotImplementedError

    def parse_batch_train(self, *args: Any, **kwargs: Any) -> Any:
        """What forward_backward needs of a batch, on the device."""
        raise NotImplementedError

    def parse_batch_test(self, *args: Any, **kwargs: Any) -> Any:
        """What test needs of a batch, on the device."""
        raise NotImplementedError

    def forward_backward(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """One step on one batch (two with unlabelled data); returns what the log line shows."""
        raise NotImplementedError

    def model_inference(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Scores of a batch of test images."""
        raise NotImplementedError

    def model_zero_grad(self, names: str | list[str] | None = None) -> None:
        """Drop the gradients."""
        for name in self.get_model_names(names):
            if self._optims[name] is not None:
                self._optims[name].zero_grad()

    def model_backward(self, loss: torch.Tensor) -> None:
        """Compute gradients; raises NotFiniteError where the loss is not finite."""
        self.detect_anomaly(loss)
        loss.backward()

    def model_update(self, names: str | list[str] | None = None) -> None:
        """Take one optimizer step."""
        for name in self.get_model_names(names):
            if self._optims[name] is not None:
                self._optims[name].step()

    def model_backward_and_update(
        self, loss: torch.Tensor, names: str | list[str] | None = None
    ) -> None:
        """Drop the gradients, compute new ones, take a step."""
        self.model_zero_grad(names=names)
        self.model_backward(loss)
        self.model_update(names=names)


class SimpleTrainer(TrainerBase):
    """Builds data, model and evaluator from the configuration; saves, validates and tests.

    Args:
        cfg: the configuration.
    """

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__()
        check_options(cfg)
        self.check_cfg(cfg)
        self.cfg = cfg
        self.output_dir = cfg.OUTPUT_DIR
        uses_cuda = cfg.USE_CUDA and torch.cuda.is_available()
        self.device = torch.device("cuda" if uses_cuda else "cpu")
        # The epochs to train, and the best result on validation images up to now.
        self.start_epoch, self.max_epoch = 0, cfg.OPTIM.MAX_EPOCH
        self.epoch = self.start_epoch
        self.best_result = float("-inf")
        for build in (self.build_data_loader, self.build_model):
            build()
        self.evaluator = build_evaluator(cfg, lab2cname=self.lab2cname)

    def check_cfg(self, cfg: CfgNode) -> None:
        """Check the configuration before anything is built; a trainer raises here what it needs."""

    def build_data_loader(self) -> None:
        """Build the data: loaders, number of classes and their names."""
        self.dm = DataManager(self.cfg)
        loaders = ("train_loader_x", "train_loader_u", "val_loader", "test_loader")
        for name in (*loaders, "num_classes", "num_source_domains", "lab2cname"):
            setattr(self, name, getattr(self.dm, name))

    def build_model(self) -> None:
        """Build a :class:`SimpleNet`, its optimizer and scheduler, and register them as "model"."""
        print("Building model")
        self.model = net = SimpleNet(self.cfg, self.cfg.MODEL, self.num_classes)
        if weights := self.cfg.MODEL.INIT_WEIGHTS:
            load_pretrained_weights(net, weights)
        print(f"# params: {count_num_param(net.to(self.device)):,}")
        options = self.cfg.OPTIM
        self.optim = build_optimizer(net, options)
        self.sched = build_lr_scheduler(self.optim, options)
        self.register_model(model=net, optim=self.optim, sched=self.sched)

    def train(self) -> None:
        """Train all epochs, then test; however it ends, no worker process and no file stays open.

        Raises:
            InputError: the options leave nothing to train, or ask for a val split that is missing.
        """
        check_training(self.cfg, self.max_epoch, self.val_loader is not None)
        try:
            super().train(self.start_epoch, self.max_epoch)
        finally:
            for name in ("train_loader_x", "train_loader_u", "val_loader", "test_loader"):
                stop_workers(getattr(self, name, None))
            self.close_writer()

    def before_train(self) -> None:
        """Resume where there is something to resume, and start TensorBoard and the clock.

        What a killed run was writing is removed.
        """
        for name in ("", *self.get_model_names()):
            remove_unfinished_files(os.path.join(self.output_dir, name))
        directory = self.cfg.RESUME or self.cfg.OUTPUT_DIR
        self.start_epoch = self.resume_model_if_exist(directory)
        if self.start_epoch > 0:
            self.best_result = self._best_result_so_far()
        self.init_writer(os.path.join(self.output_dir, "tensorboard"))
        self.time_start = time.time()

    def _best_result_so_far(self) -> float:
        """What a model must exceed on the validation images to replace the best one on disk."""
        path = os.path.join(self.output_dir, self.get_model_names()[0], _BEST_MODEL)
        result = load_checkpoint(path)["val_result"] if os.path.isfile(path) else None
        return self.best_result if result is None else result

    def after_train(self) -> None:
        """Test the model that TEST.FINAL_MODEL names, unless TEST.NO_TEST."""
        print("Finish training")
        if not self.cfg.TEST.NO_TEST:
            self._deploy(self.cfg.TEST.FINAL_MODEL)
            self.test()
        elapsed = datetime.timedelta(seconds=round(time.time() - self.time_start))
        print(f"Elapsed: {elapsed}")

    def _deploy(self, which: str) -> None:
        if which == "last_step":
            print("Deploy the last-epoch model")
            return
        print("Deploy the model with the best val performance")
        self.load_model(self.output_dir)

    def after_epoch(self) -> None:
        """Validate where the best model is wanted, and save when it is time."""
        frequency = self.cfg.TRAIN.CHECKPOINT_FREQ
        last_epoch = self.epoch + 1 == self.max_epoch
        if not self.cfg.TEST.NO_TEST and self.cfg.TEST.FINAL_MODEL == "best_val":
            result = self.test(split="val")
            if result > self.best_result:
                self.best_result = result
                self.save_model(
                    self.epoch, self.output_dir, val_result=result, model_name=_BEST_MODEL
                )
        if last_epoch or (frequency > 0 and (self.epoch + 1) % frequency == 0):
            self.save_model(self.epoch, self.output_dir)

    @torch.no_grad()
    def test(self, split: str | None = None) -> float:
        """Evaluate on a split.

        Args:
            split: ``val`` or ``test``; by default ``TEST.SPLIT``.

        Returns:
            The evaluator's first metric (accuracy in percent).

        Raises:
            InputError: another split, or ``val`` of a dataset without validation images.
        """
        split = split or self.cfg.TEST.SPLIT
        check_split(split, self.val_loader is not None, self.cfg.DATASET.NAME)
        self.set_model_mode("eval")
        self.evaluator.reset()
        data_loader = self.val_loader if split == "val" else self.test_loader
        print(f"Evaluate on the *{split}* set")
        # disable=None: no bar where standard error is not a terminal.
        for batch in tqdm(data_loader, desc=split, leave=False, disable=None):
            input, label = self.parse_batch_test(batch)
            self.evaluator.process(self.model_inference(input), label)
        results = self.evaluator.evaluate()
        for name, value in results.items():
            self.write_scalar(f"{split}/{name}", value, self.epoch)
        return next(iter(results.values()))

    def model_inference(self, input: torch.Tensor) -> torch.Tensor:
        """Scores (batch, classes) of images (batch, 3, height, width)."""
        return self.model(input)

    def parse_batch_test(self, batch: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """Images (batch, 3, height, width) and labels (batch,), on the device."""
        return batch["img"].to(self.device), batch["label"].to(self.device)

    def get_current_lr(self, names: str | list[str] | None = None) -> float:
        """The learning rate of the first model's first parameter group."""
        name = self.get_model_names(names)[0]
        return self._optims[name].param_groups[0]["lr"]

    def _train_on(self, batches: Iterable[tuple[dict[str, Any], ...]]) -> None:
        """One epoch: forward_backward on each of ``self.num_batches`` batches, with the log."""
        losses, batch_time, data_time = MetricMeter(), AverageMeter(), AverageMeter()
        bar = tqdm(
            batches,
            total=self.num_batches,
            desc=f"epoch {self.epoch + 1}/{self.max_epoch}",
            leave=False,
            disable=None,
        )
        end = time.time()
        for self.batch_idx, batch in enumerate(bar):
            data_time.update(time.time() - end)
            losses.update(self.forward_backward(*batch))
            batch_time.update(time.time() - end)

            done = self.batch_idx + 1
            if (
                done % self.cfg.TRAIN.PRINT_FREQ == 0
                or self.num_batches < self.cfg.TRAIN.PRINT_FREQ
            ):
                left = (self.max_epoch - self.epoch) * self.num_batches - done
                eta = datetime.timedelta(seconds=int(batch_time.avg * left))
                # tqdm.write moves a bar out of the way.
                tqdm.write(
                    f"epoch [{self.epoch + 1}/{self.max_epoch}] "
                    f"batch [{done}/{self.num_batches}] "
                    f"time {batch_time.val:.3f} ({batch_time.avg:.3f}) "
                    f"data {data_time.val:.3f} ({data_time.avg:.3f}) "
                    f"{losses} lr {self.get_current_lr():.4e} eta {eta}"
                )
            step = self.epoch * self.num_batches + self.batch_idx
            for name, meter in losses.meters.items():
                self.write_scalar(f"train/{name}", meter.avg, step)
            self.write_scalar("train/lr", self.get_current_lr(), step)
            end = time.time()


class TrainerX(SimpleTrainer):
    """Trains on labelled images."""

    def run_epoch(self) -> None:
        """Call forward_backward(batch) for every batch of the labelled images."""
        self.set_model_mode("train")
        self.num_batches = len(self.train_loader_x)
        self._train_on((batch,) for batch in self.train_loader_x)

    def parse_batch_train(
        self, batch: dict[str, Any]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Images (batch, 3, height, width), labels and domains (batch,), on the device."""
        return tuple(batch[key].to(self.device) for key in ("img", "label", "domain"))


class TrainerXU(SimpleTrainer):
    """Trains on labelled and unlabelled images together."""

    def run_epoch(self) -> None:
        """Call forward_backward(batch_x, batch_u) as often as TRAIN.COUNT_ITER says.

        The loader that ends first starts again.

        Raises:
            InputError: the dataset has no unlabelled images.
        """
        if self.train_loader_u is None:
            raise InputError(
                f"{type(self).__name__} needs unlabelled images, but the data set "
                f"{self.cfg.DATASET.NAME} has none (train_u)"
            )
        self.set_model_mode("train")
        lengths = {"train_x": len(self.train_loader_x), "train_u": len(self.train_loader_u)}
        lengths["smaller_one"] = min(lengths.values())
        self.num_batches = lengths[self.cfg.TRAIN.COUNT_ITER]
        pairs = zip(_repeat(self.train_loader_x), _repeat(self.train_loader_u), strict=False)
        self._train_on(pair for _, pair in zip(range(self.num_batches), pairs, strict=False))

    def parse_batch_train(
        self, batch_x: dict[str, Any], batch_u: dict[str, Any]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Labelled images, their labels, and unlabelled images, on the device."""
        return (
            batch_x["img"].to(self.device),
            batch_x["label"].to(self.device),
            batch_u["img"].to(self.device),
        )


def stop_workers(loader: Any) -> None:
    """End the worker processes that a loader keeps between epochs; it can be used again."""
    iterator = getattr(loader, "_iterator", None)
    if iterator is not None:
        iterator._shutdown_workers()
        loader._iterator = None


def _repeat(loader: DataLoader) -> Iterator[dict[str, Any]]:
    while True:
        yield from loader
