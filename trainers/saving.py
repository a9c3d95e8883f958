"""What a training writes and reads again: checkpoints, the file to share, the state to go on from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch
from dassl.engine import TrainerX
from torch import Tensor

from prompting import checkpoints
from prompting.errors import InputError
from prompting.learned_state import LearnedState, check_probe, probe
from prompting.prompted_clip import PromptedCLIP
from prompting.tensors import in_short

from . import resume, run_folder
from .results import config_items, used_config


class SavedTraining(TrainerX):
    """The part of a trainer that keeps what is learned.

    checkpoint_name: the folder of its checkpoints, as published. saved_module: what published files
    leave out of the names of learned tensors. published_unused: patterns of names that published files
    hold and that nothing here needs.
    """

    checkpoint_name = "prompt_learner"
    saved_module = ""
    published_unused: ClassVar[Sequence[str]] = ()

    def keep_learned(self, model: PromptedCLIP) -> None:
        """Say whose learner it is that is saved, loaded and resumed."""
        self.learned = LearnedState(model, self.saved_module, self.published_unused)
        self.trains, self.resumed_from = False, self.cfg.OUTPUT_DIR
        self.epoch = -1  # of the prompts as they are: no epoch is done yet
        self.tested_checkpoint: Path | None = None

    @contextmanager
    def with_learned(self, values: Mapping[str, Tensor]) -> Iterator[None]:
        """Other values of what is learned, by name in files, for as long as the context lasts."""
        own = self.learned.copy()
        self.set_learned(values)
        try:
            yield
        finally:
            self.set_learned(own)

    @torch.no_grad()
    def set_learned(self, values: Mapping[str, Tensor]) -> None:
        """Set what is learned, by name in files."""
        for name, tensor in self.learned.tensors().items():
            tensor.copy_(values[name])

    @property
    def identity(self) -> dict[str, Any]:
        """What a checkpoint and the model it is loaded into must have in common."""
        return self._identity_of(self.model)

    def _identity_of(self, model: PromptedCLIP) -> dict[str, Any]:
        return {
            "method": type(self).__name__,
            "backbone": model.clip.fingerprint,
            "earlier_backbone": model.clip.earlier_fingerprint,
            **model.template.describe(),
            **model.prompt_learner.describe(),
            # contexts of one class mean nothing to another
            **({"classnames": model.names} if model.bound_to_classes else {}),
        }

    def model_on(self, dataset: str) -> PromptedCLIP:
        """The model as it would be on another dataset, with what is learned shared."""
        raise NotImplementedError(
            f"{type(self).__name__} does not say what another dataset changes"
        )

    def save_model(self, epoch, directory, is_best=False, val_result=None, model_name="") -> None:
        path = Path(directory, self.checkpoint_name)
        name = model_name or checkpoints.FINAL_FILE.format(epoch=epoch + 1)
        checkpoint = {
            "state_dict": self.learned.copy(),
            "probe": probe(self.model, self.precision.name),
            "epoch": epoch + 1,
            "optimizer": None,
            "scheduler": None,
            "val_result": None if val_result is None else float(val_result),
            "header": {
                "format": checkpoints.FORMAT,
                **self.identity,
                "backbone_name": self.cfg.MODEL.BACKBONE.NAME,
                "backbone_activation": self.cfg.MODEL.BACKBONE.get("ACTIVATION", ""),
                "dataset": self.cfg.DATASET.NAME,
                "classnames": list(self.model.trained_classes),
                "config": used_config(self.cfg),
                "final": epoch + 1 == self.max_epoch and not model_name,
            },
        }
        # before the checkpoint, which says that nothing is left to do
        if checkpoint["header"]["final"]:
            best = path / checkpoints.BEST_FILE
            validated = self.cfg.TEST.FINAL_MODEL == "best_val" and best.is_file()
            shared = checkpoints.load(best) if validated else checkpoint
            checkpoints.save_prompts(path / checkpoints.SHARED_FILE, shared)
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
        folder = run_folder.prompts_folder(Path(directory), self.checkpoint_name)
        path = checkpoints.locate(folder, epoch)
        wants_best = epoch is None and self.cfg.TEST.FINAL_MODEL == "best_val"
        if wants_best and path.name != checkpoints.BEST_FILE:
            raise InputError(
                f"TEST.FINAL_MODEL is best_val, but {folder} holds no {checkpoints.BEST_FILE}: no "
                "epoch was validated. Give --load-epoch, or TEST.FINAL_MODEL last_step"
            )
        checkpoint = checkpoints.load(path)
        self.load_learned(path, checkpoint)
        self.tested_checkpoint = path
        self.epoch = checkpoint["epoch"] - 1
        print(f"Loaded {self.checkpoint_name} from {path} (epoch {checkpoint['epoch']})")

    def load_learned(self, path: Path, checkpoint: dict[str, Any]) -> None:
        """Take over what `checkpoints.load` read from a file, and compare the probe.

        Raises:
            checkpoints.CheckpointError: it was made for something else, or means something else here.
        """
        header, model = checkpoint.get("header"), self.model
        if header is not None:
            names = header.get("classnames")
            dataset = header.get("dataset", self.cfg.DATASET.NAME)
            if names is None or not isinstance(dataset, str):
                raise checkpoints.CheckpointError(
                    f"{path} is not a checkpoint of ours: its header does not name its dataset and "
                    "classes. Use another file, or train again"
                )
            if dataset != self.cfg.DATASET.NAME:
                model = self.model_on(dataset)
            checkpoints.check_header(path, header, self._identity_of(model))
            if dataset == self.cfg.DATASET.NAME:
                self._refuse_other_halves(path, header)
            model.trained_classes = self.model.trained_classes = names
            if self.model.own_dataset_only and dataset != self.cfg.DATASET.NAME:
                self.model.trained_classes = []
            count = len(names)
        else:
            count = checkpoints.published_count(checkpoint["state_dict"])
            count = len(self.model.names) if count is None else count
            is_new = self.cfg.DATASET.get("SUBSAMPLE_CLASSES", "all") == "new"
            # published files do not name their classes; halves are the protocol's
            if is_new or count != len(self.model.names):
                self.model.trained_classes = []
        self.model.prompt_learner.fit_classes(count)
        self.learned.load(path, checkpoint["state_dict"], ours=header is not None)
        if saved := checkpoint.get("probe"):
            now = probe(model, self.precision.name, saved["classnames"])
            check_probe(path, saved, now)

    def _refuse_other_halves(self, path: Path, header: Mapping[str, Any]) -> None:
        """With more or fewer classes than in training, the halves of a dataset are others."""
        config = header.get("config")
        made_with = dict(config_items(config)) if isinstance(config, Mapping) else {}
        half = made_with.get("DATASET.SUBSAMPLE_CLASSES")
        asked = self.cfg.DATASET.get("SUBSAMPLE_CLASSES", "all")
        trained = () if half != "base" or self.training_classes else header["classnames"]
        seen = sorted(set(trained) & set(self.model.names)) if asked == "new" else []
        if seen:
            raise checkpoints.CheckpointError(
                f"{path} was trained on {in_short(seen)}, and here that is among the new classes: "
                "the dataset has other classes than in training, and so other halves. Test on the "
                "classes of the training"
            )

    def resume_model_if_exist(self, directory) -> int:
        """Go on at the last whole epoch of a folder; a finished run is loaded and not trained on."""
        # a run that went on from another folder and was killed goes on from its own
        for folder in dict.fromkeys((str(self.output_dir), str(directory))):
            self.resumed_from = folder
            if epochs_done := self._resume_from(Path(folder, self.checkpoint_name)):
                return epochs_done
        if self.cfg.RESUME:
            raise InputError(f"--resume {directory}: there is no whole epoch to go on from")
        return 0

    def _resume_from(self, folder: Path) -> int:
        """Restore what a folder of checkpoints holds; the number of epochs done."""
        path = folder / resume.RESUME_FILE
        final = folder / checkpoints.FINAL_FILE.format(epoch=self.max_epoch)
        if path.is_file():
            state = resume.load(path, self.identity, self.max_epoch)
            with resume.damage_named(path):
                resume.check_shapes(path, state, self.learned.tensors(), self.optim)
                self.load_resume_state(state)
            done = state["epoch"]
            print(f"Resuming from {path}: {done} of {self.max_epoch} epochs are done")
        elif final.is_file():
            self.load_learned(final, checkpoints.load(final))
            done, self.epoch = self.max_epoch, self.max_epoch - 1
            if not (folder / checkpoints.NEWEST).is_file() and folder.parent == Path(
                self.output_dir
            ):
                checkpoints.make_newest(final)  # killed just before it
            print(f"{final} is finished: nothing is left to train")
        else:
            return 0
        run_folder.bring_best(folder, Path(self.output_dir, self.checkpoint_name))
        return done

    def _resume_path(self, directory) -> Path:
        return Path(directory, self.checkpoint_name, resume.RESUME_FILE)

    def resume_state(self) -> dict[str, Any]:
        """Everything that the rest of the training depends on, beside the configuration."""
        return {
            "identity": self.identity,
            "epoch": self.epoch + 1,
            "config": used_config(self.cfg),
            "learned": self.learned.copy(),
            "optimizer": self.optim.state_dict(),
            "scheduler": resume.scheduler_state(self.sched),
            "scaler": self.scaler.state_dict(),
            "best_result": float(self.best_result),
            "random": resume.random_state(),
        }

    def load_resume_state(self, state: dict[str, Any]) -> None:
        """Restore what `resume_state` gave."""
        path = self._resume_path(self.resumed_from)
        self.learned.load(path, state["learned"], ours=True)
        self.optim.load_state_dict(state["optimizer"])
        resume.restore_scheduler(self.sched, state["scheduler"])
        self.scaler.load_state_dict(state["scaler"])
        self.best_result = float(state["best_result"])
        resume.set_random_state(state["random"])
