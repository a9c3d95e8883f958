"""What is measured: the registered trainers, and the plain path, on one CLIP with random weights."""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from unittest.mock import patch

import clip.model
import torch
from dassl.config import get_cfg_default
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor
from yacs.config import CfgNode

import trainers
from prompting.builtin import BUILTIN
from prompting.prompted_clip import PromptedCLIP, TextTeacher
from protocols.published import methods as published
from trainers import PromptTrainer, teachers
from trainers.compiled_step import EAGER
from trainers.configuration_merge import merge
from trainers.without_data import build_without_data

from . import passes, plain

VIT_B16 = {
    "embed_dim": 512,
    "image_resolution": 224,
    "vision_layers": 12,
    "vision_width": 768,
    "vision_patch_size": 16,
    "context_length": 77,
    "vocab_size": 49408,
    "transformer_width": 512,
    "transformer_heads": 8,
    "transformer_layers": 12,
}
VIT_L14 = {
    **VIT_B16,
    "embed_dim": 768,
    "vision_layers": 24,
    "vision_width": 1024,
    "vision_patch_size": 14,
    "transformer_width": 768,
    "transformer_heads": 12,
}
ROOT = Path(__file__).parents[1]
BACKBONE, TEACHER_BACKBONE = "benchmark-random-weights", "benchmark-random-teacher"
PROTOCOL = "base2new"
"""Whose published settings are measured, with what holds for any dataset."""


def methods() -> list[str]:
    """The methods that have a plain path and published settings, in the order of their papers."""
    return [
        name for name in published.trained() if name in plain.METHODS and published.find(name).rules
    ]


def without_plain_path() -> list[str]:
    """The methods that cannot be measured, and are passed over."""
    return sorted(set(published.trained()) - set(methods()))


@cache
def setting(method: str) -> published.Setting:
    """The published setting of a method, for any dataset."""
    return published.find(method).setting(PROTOCOL, "")


def config_path(method: str) -> Path:
    """The file of a method's published configuration."""
    return published.find(method).config_path(setting(method).config)


@cache
def published_batch(method: str) -> int:
    """The batch of training that the method's published configuration has."""
    return configure(method).DATALOADER.TRAIN_X.BATCH_SIZE


def configure(method: str) -> CfgNode:
    """The method's published configuration."""
    cfg = get_cfg_default()
    trainers.extend_cfg(cfg)
    merge(cfg, config_path(method))
    merge(cfg, list(setting(method).pairs()))
    cfg.TRAINER.NAME = method
    return cfg


def class_names(count: int) -> list[str]:
    """The first names of ImageNet's 1000 classes."""
    names = Path(__file__).with_name("imagenet_classnames.txt").read_text().splitlines()
    if not 1 <= count <= len(names):
        raise ValueError(f"{count} classes were asked for: choose 1 to {len(names)}")
    return names[:count]


def random_clip(sizes: dict[str, object]) -> clip.model.CLIP:
    """A frozen CLIP of these sizes: speed does not depend on the values of weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = clip.model.CLIP(**sizes)
    return model.eval().requires_grad_(False)


def images_and_labels(
    method: str, batch: int, classes: int, sizes: dict[str, object], device: torch.device
) -> tuple[Tensor | tuple[Tensor, ...], Tensor]:
    """A batch of noise, as many views of it as a step of the method takes, with labels."""
    generator = torch.Generator().manual_seed(0)
    resolution = sizes["image_resolution"]
    views = tuple(
        torch.randn(batch, 3, resolution, resolution, generator=generator).to(device)
        for _ in range(TRAINER_REGISTRY.get(method).views)
    )
    labels = torch.randint(classes, (batch,), generator=generator)
    return (views if len(views) > 1 else views[0]), labels.to(device)


def build_plain(ours: Ours, device: torch.device) -> plain.PlainPath:
    """The plain path of a method, from the values that ours starts from."""

    def load(name: str) -> clip.model.CLIP:
        model = random_clip(ours.sizes[name])
        return model if device.type == "cpu" else model.to(device)

    return plain.METHODS[ours.trainer.cfg.TRAINER.NAME](ours.trainer, load, device)


def build_ours(
    method: str,
    classes: int,
    precision: str,
    device: torch.device,
    output: Path,
    sizes: dict[str, object] = VIT_B16,
    options: tuple[object, ...] = (),
) -> Ours:
    """The registered trainer of a method, without data loaders; options are KEY, VALUE, ...

    A trained teacher is a ViT-L/14 beside a ViT-B/16, and of the same sizes beside another.
    """
    cfg = configure(method)
    trainer, names = TRAINER_REGISTRY.get(method), class_names(classes)
    cfg.TRAINER[trainer.node].PREC = precision
    cfg.MODEL.BACKBONE.NAME = BACKBONE
    cfg.OUTPUT_DIR, cfg.USE_CUDA = str(output), device.type == "cuda"
    cfg.INPUT.SIZE = (sizes["image_resolution"],) * 2
    merge(cfg, _what_is_read(trainer, names, output))
    merge(cfg, list(options))
    every = {BACKBONE: sizes, TEACHER_BACKBONE: VIT_L14 if sizes is VIT_B16 else sizes}
    for name, each in every.items():
        BUILTIN[name] = lambda each=each: random_clip(each).state_dict()
    with contextlib.redirect_stdout(io.StringIO()):
        built = build_without_data(cfg, names)
    # past the warm-up, in the middle of an epoch: no learning rate is changed
    for group in built.optim.param_groups:
        group["lr"] = group["initial_lr"]
    built.epoch, built.batch_idx, built.num_batches = 0, 0, 1000
    built.start_epoch, built.max_epoch = 0, cfg.OPTIM.MAX_EPOCH
    return Ours(built, every)


@contextlib.contextmanager
def own_cache() -> Iterator[None]:
    """Keep what methods compute once and keep out of the cache of the user."""
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.dict(os.environ, {"PROMPT_CACHE": folder}),
    ):
        yield


def _what_is_read(trainer: type[PromptTrainer], names: list[str], folder: Path) -> list[str]:
    """Options that name what a method reads beside images: sentences, written here; and a teacher."""
    file = folder / "descriptions.json"
    file.write_text(json.dumps({name: [f"A photo that shows a {name}."] for name in names}))
    there = {
        "DESCRIPTIONS": str(file),
        "TEACHER": teachers.ZERO_SHOT,
        "TEACHER_NAME": TEACHER_BACKBONE,
    }
    given = [key for key in there if key in trainer.defaults]
    return [part for key in given for part in (f"TRAINER.{trainer.node}.{key}", there[key])]


class Ours:
    """A trainer under the names that the plain path has.

    Attributes:
        trainer: as registered.
        sizes: of the CLIPs by backbone.
        passes: through the encoders, of the last step that was watched.
    """

    def __init__(self, trainer: PromptTrainer, sizes: dict[str, dict[str, object]]) -> None:
        self.trainer, self.sizes = trainer, sizes
        self.passes: list[passes.TextPass | passes.ImagePass] = []
        trainer.set_model_mode("train")
        if isinstance(self.model.teacher, TextTeacher):
            # speed does not depend on the values; `build` computes the real ones
            shape = len(self.model.names), self.model.clip.embed_dim
            features = plain.normalise(torch.randn(shape)).to(trainer.device)
            self.model.teacher = lambda names: features
        if self.model.teacher:
            self.model.teacher_text()  # once in a training

    @property
    def model(self) -> PromptedCLIP:
        return self.trainer.model

    def step(self, images: Tensor | tuple[Tensor, ...], labels: Tensor) -> float:
        """One training step as in training, logged values included."""
        batch = {"img": images, "label": labels}
        if self.passes and self.trainer.step.way != EAGER:  # no graph holds what watches
            return self.trainer.forward_backward(batch)["loss"]
        with passes.watch() as self.passes:
            return self.trainer.forward_backward(batch)["loss"]

    def encode_classes(self) -> Tensor:
        """Normalised text features (C, embed_dim)."""
        return self.model.encode_classes()

    def build(self) -> None:
        """What building takes once CLIP is there: class names to prompts, and where the method asks a
        teacher with templates, its text features."""
        model, trainer = self.model, self.trainer
        with contextlib.redirect_stdout(io.StringIO()):
            trainer.build_learner(model.clip, model.names)
            trainer.build_template().layout(model.names)
        if templates := trainer.teacher_templates():
            TextTeacher(templates, trainer.clip_in_fp32)(model.names)

    def end_epoch(self) -> Path:
        """Average where the method does, and write the checkpoint; returns its path."""
        trainer = self.trainer
        with contextlib.redirect_stdout(io.StringIO()):
            if hasattr(trainer, "average"):
                trainer.average.update(1, trainer.learned.tensors())
            trainer.save_model(0, trainer.output_dir)
        return Path(trainer.output_dir, trainer.checkpoint_name, "model.pth.tar-1")

    def image_passes(self) -> None:
        """The passes through image encoders of the last step: what it could not do without."""
        with self.trainer.precision.autocast():
            passes.repeat_image_passes(self.passes, self.model.prompt_learner.steer_image())
