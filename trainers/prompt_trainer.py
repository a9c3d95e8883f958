"""What all methods share: building on a frozen CLIP, precision, training steps, saving, resuming."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from dassl.engine import TrainerX
from dassl.metrics import compute_accuracy
from dassl.optim import build_lr_scheduler, build_optimizer
from torch import Tensor
from tqdm import tqdm

from prompting import checkpoints
from prompting.backbone import CLIP, load_clip
from prompting.class_prompts import PromptLayout
from prompting.precision import resolve_precision
from prompting.prompted_clip import PromptedCLIP, PromptLearner

from .config import options
from .curves import Curves
from .manifest import write_manifest
from .periodic_tests import PeriodicTests
from .repeatable import seed_loaders
from .results import claim_folder, plain_config, write_results

RESUME_FILE = "resume.pth"


class PromptTrainer(TrainerX):
    """A Dassl trainer of a prompt-learning method.

    A method states its names and says what it learns and, where it is not cross entropy, its loss:
    `node` (its configuration node), `checkpoint_name` (the folder of its checkpoints, as published),
    `build_prompts`, `compute_loss`, and `describe_prompts` (what a checkpoint must agree on).
    """

    node: str
    checkpoint_name: str
    model_class: type[PromptedCLIP] = PromptedCLIP

    # -- what a method says -------------------------------------------------------------------------

    def build_prompts(self, clip: CLIP, names: list[str]) -> tuple[PromptLearner, PromptLayout]:
        """The learned vectors at their starting values, and where they stand in the class prompts."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it learns")

    def compute_loss(self, images: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch, images (B, 3, H, W) and labels (B,), and its parts to be logged."""
        logits = self.model(images)
        return F.cross_entropy(logits, labels), {"acc": compute_accuracy(logits, labels)[0]}

    def describe_prompts(self) -> dict[str, Any]:
        """What a checkpoint of this method must agree on beside the shapes of its tensors."""
        return {}

    # -- building -----------------------------------------------------------------------------------

    @property
    def options(self):
        """The method's configuration node."""
        return options(self.cfg, self.node)

    def check_cfg(self, cfg) -> None:
        # the device is not set when Dassl asks; precision on this device is checked in build_model
        if len(cfg.INPUT.SIZE) != 2:
            raise ValueError(f"INPUT.SIZE is {cfg.INPUT.SIZE}: expected (height, width)")

    def build_data_loader(self) -> None:
        super().build_data_loader()
        seed_loaders(self)

    def build_model(self) -> None:
        cfg = self.cfg
        self.precision = resolve_precision(self.options.PREC, self.device)
        print(f"Loading CLIP (backbone: {cfg.MODEL.BACKBONE.NAME})")
        clip = load_clip(cfg.MODEL.BACKBONE.NAME)
        self.epoch = -1  # of the prompts as they are: no epoch is done yet
        self.curves = Curves()
        self.periodic_tests: PeriodicTests | None = None
        self.tested_checkpoint: Path | None = None
        if tuple(cfg.INPUT.SIZE) != (clip.resolution, clip.resolution):
            raise ValueError(
                f"INPUT.SIZE is {tuple(cfg.INPUT.SIZE)}, but {cfg.MODEL.BACKBONE.NAME} takes images of "
                f"{clip.resolution} x {clip.resolution}: set INPUT.SIZE to "
                f'"({clip.resolution}, {clip.resolution})"'
            )
        self.model = self.build_prompted_clip(clip, list(self.dm.dataset.classnames))
        self.precision.cast(self.model.clip)
        self.model.to(self.device)
        self.scaler = self.precision.scaler()
        learner = self.model.prompt_learner
        if learner is not None:
            print(f"Learned parameters: {sum(p.numel() for p in learner.parameters()):,}")
            self.optim = build_optimizer(learner, cfg.OPTIM)
            self.sched = build_lr_scheduler(self.optim, cfg.OPTIM)
            self.register_model(self.checkpoint_name, learner, self.optim, self.sched)

    def build_prompted_clip(self, clip: CLIP, names: list[str]) -> PromptedCLIP:
        """The model of a method that learns prompts."""
        return self.model_class(clip, *self.build_prompts(clip, names))

    # -- training -----------------------------------------------------------------------------------

    def before_train(self) -> None:
        claim_folder(self.cfg)
        super().before_train()
        self.curves.resume(self.cfg.RESUME or self.output_dir, self.start_epoch)

    def before_epoch(self) -> None:
        super().before_epoch()
        self.train_loader_x.set_epoch(self.epoch)

    def run_epoch(self) -> None:
        learning_rate = self.get_current_lr()
        self.curves.start_epoch_anew()
        super().run_epoch()
        self.curves.end_epoch(self.epoch + 1, learning_rate)

    def forward_backward(self, batch: dict) -> dict[str, float]:
        images, labels = self.parse_batch_train(batch)
        with self.precision.autocast():
            loss, parts = self.compute_loss(images, labels)
        self.model_backward_and_update(loss)
        if self.batch_idx + 1 == self.num_batches:
            self.update_lr()
        values = {"loss": loss, **parts}
        # read together: every read waits for the device
        read = torch.stack([value.detach().reshape(()) for value in values.values()]).tolist()
        summary = dict(zip(values, read, strict=True))
        self.curves.add_step(summary)
        return summary

    def parse_batch_train(self, batch: dict) -> tuple[Tensor, Tensor]:
        return (
            batch["img"].to(self.device, non_blocking=True),
            batch["label"].to(self.device, non_blocking=True),
        )

    def parse_batch_test(self, batch: dict) -> tuple[Tensor, Tensor]:
        return self.parse_batch_train(batch)

    def model_backward_and_update(self, loss: Tensor, names=None) -> None:
        self.detect_anomaly(loss)
        self.model_zero_grad(names)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optim)
        self.scaler.update()

    def after_epoch(self) -> None:
        self.test_periodically()
        self.curves.save(self.output_dir)
        super().after_epoch()
        if self.epoch + 1 < self.max_epoch:
            self._save_resume_state()
        else:
            self._resume_path(self.output_dir).unlink(missing_ok=True)

    # -- testing ------------------------------------------------------------------------------------

    def prompts_to_test(self) -> dict[str, dict[str, Tensor]]:
        """What TEST.EVERY tests, by name: learned tensors under their published names."""
        return {"current": self.learned_tensors()}

    def test_periodically(self) -> None:
        """Every TEST.EVERY epochs, test base and new classes; the training does not notice."""
        every, epoch = self.cfg.TEST.get("EVERY", 0), self.epoch + 1
        if every < 1 or epoch % every or self.curves.tested(epoch):
            return
        state = _random_state()
        if self.periodic_tests is None:
            self.periodic_tests = PeriodicTests(self)
        self.periodic_tests.run(self, self.prompts_to_test())
        _set_random_state(state)

    def model_inference(self, input: Tensor) -> Tensor:
        with self.precision.autocast():
            return self.model(input)

    @torch.no_grad()
    def test(self, split: str | None = None) -> float:
        """Evaluate a split ("test" or "val"), write results.json, and return the first metric."""
        claim_folder(self.cfg)
        self.set_model_mode("eval")
        self.evaluator.reset()
        split = split or self.cfg.TEST.SPLIT
        if split == "val" and self.val_loader is None:
            print("There is no validation split; testing on the test split")
            split = "test"
        loader = self.val_loader if split == "val" else self.test_loader
        print(f"Evaluate on the *{split}* set")
        total, start = 0, time.perf_counter()
        for batch in tqdm(loader, desc=split, disable=None, leave=False):
            images, labels = self.parse_batch_test(batch)
            self.evaluator.process(self.model_inference(images), labels)
            total += len(labels)
        metrics = self.evaluator.evaluate()
        for name, value in metrics.items():
            self.write_scalar(f"{split}/{name}", value, self.epoch)
        write_manifest(self, time.perf_counter() - start)
        write_results(self, split, total, metrics)
        return next(iter(metrics.values()))

    # -- saving, loading, resuming ------------------------------------------------------------------

    def learned_tensors(self) -> dict[str, torch.nn.Parameter]:
        """What is learned, under the names that published checkpoints of this method use in files."""
        return self.model.prompt_learner.published_names()

    @property
    def identity(self) -> dict[str, Any]:
        """What a checkpoint and the model it is loaded into must have in common."""
        return {
            "method": type(self).__name__,
            "backbone": self.model.clip.fingerprint,
            **self.describe_prompts(),
        }

    def save_model(self, epoch, directory, is_best=False, val_result=None, model_name="") -> None:
        path = Path(directory, self.checkpoint_name)
        name = model_name or checkpoints.FINAL_FILE.format(epoch=epoch + 1)
        checkpoint = {
            "state_dict": {k: v.detach().cpu() for k, v in self.learned_tensors().items()},
            "epoch": epoch + 1,
            "optimizer": None,
            "scheduler": None,
            "val_result": None if val_result is None else float(val_result),
            "header": {
                "format": checkpoints.FORMAT,
                **self.identity,
                "backbone_name": self.cfg.MODEL.BACKBONE.NAME,
                "dataset": self.cfg.DATASET.NAME,
                "classnames": list(self.dm.dataset.classnames),
                "config": plain_config(self.cfg),
                "final": epoch + 1 == self.max_epoch and not model_name,
            },
        }
        checkpoints.save(path / name, checkpoint)
        print(f"Checkpoint saved to {path / name}")
        if is_best:
            checkpoints.save(path / checkpoints.BEST_FILE, checkpoint)

    def load_model(self, directory, epoch=None) -> None:
        """Load learned vectors; without an epoch the best on validation, else the newest.

        Raises:
            checkpoints.CheckpointError: missing, unreadable, or made for another method, backbone,
                prompt depth or context length.
        """
        if not directory:
            print("load_model was given no directory: the prompts stay as they are")
            return
        path = checkpoints.locate(Path(directory, self.checkpoint_name), epoch)
        checkpoint = checkpoints.load(path)
        self._load_learned(path, checkpoint)
        self.tested_checkpoint = path
        self.epoch = checkpoint["epoch"] - 1
        print(f"Loaded {self.checkpoint_name} from {path} (epoch {checkpoint['epoch']})")

    @torch.no_grad()
    def _load_learned(self, path: Path, checkpoint: dict) -> None:
        if "header" in checkpoint:
            checkpoints.check_header(path, checkpoint["header"], self.identity)
        learned = self.learned_tensors()
        for name, value in checkpoints.select_learned(
            path, checkpoint["state_dict"], learned
        ).items():
            learned[name].copy_(value)

    def resume_model_if_exist(self, directory) -> int:
        """Go on at the last whole epoch of a folder; a finished run is loaded and not trained on."""
        final = Path(
            directory, self.checkpoint_name, checkpoints.FINAL_FILE.format(epoch=self.max_epoch)
        )
        resume = self._resume_path(directory)
        if resume.is_file():
            epoch = self._load_resume_state(resume)
            print(f"Resuming from {resume}: {epoch} of {self.max_epoch} epochs are done")
            return epoch
        if final.is_file():
            self._load_learned(final, checkpoints.load(final))
            self.epoch = self.max_epoch - 1
            print(f"{final} is finished: nothing is left to train")
            return self.max_epoch
        return 0

    def _resume_path(self, directory) -> Path:
        return Path(directory, self.checkpoint_name, RESUME_FILE)

    def resume_state(self) -> dict[str, Any]:
        """Everything that the rest of the training depends on, beside the configuration."""
        return {
            "identity": self.identity,
            "epoch": self.epoch + 1,
            "learned": {k: v.detach() for k, v in self.learned_tensors().items()},
            "optimizer": self.optim.state_dict(),
            "scheduler": self.sched.state_dict(),
            "scaler": self.scaler.state_dict(),
            "best_result": float(self.best_result),
            "random": _random_state(),
        }

    def load_resume_state(self, state: dict[str, Any]) -> None:
        """Restore what `resume_state` gave."""
        for name, parameter in self.learned_tensors().items():
            parameter.data.copy_(state["learned"][name])
        self.optim.load_state_dict(state["optimizer"])
        self.sched.load_state_dict(state["scheduler"])
        self.scaler.load_state_dict(state["scaler"])
        self.best_result = state["best_result"]
        _set_random_state(state["random"])

    def _save_resume_state(self) -> None:
        state = self.resume_state()
        checkpoints.write_atomically(
            self._resume_path(self.output_dir), lambda path: torch.save(state, path)
        )

    def _load_resume_state(self, path: Path) -> int:
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise checkpoints.CheckpointError(
                f"{path} cannot be read: {error}. Remove it to train from the start"
            ) from error
        checkpoints.check_header(path, state["identity"], self.identity)
        self.load_resume_state(state)
        return state["epoch"]


def _random_state() -> dict[str, Any]:
    """The state of all random generators, in types that torch.load reads without pickle."""
    version, python, gauss = random.getstate()
    _, keys, position, has_gauss, cached = np.random.get_state()
    return {
        "python": [version, list(python), gauss],
        "numpy": [keys.tolist(), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all(),
    }


def _set_random_state(state: dict[str, Any]) -> None:
    version, python, gauss = state["python"]
    random.setstate((version, tuple(python), gauss))
    keys, *rest = state["numpy"]
    np.random.set_state(("MT19937", np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
