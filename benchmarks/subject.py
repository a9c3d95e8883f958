"""What is measured: the registered trainers, and the plain path, on one CLIP with random weights."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path

import clip.model
import torch
from dassl.config import get_cfg_default
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor, nn

import trainers
from prompting.builtin import BUILTIN
from prompting.prompted_clip import TextTeacher
from trainers.configuration_merge import merge
from trainers.without_data import build_without_data

from . import plain

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
# the paper's batch, but for CoOp that of the published figures this project compares with
BATCH = {"CoOp": 4, "CoCoOp": 1, "IVLP": 4, "PromptSRC": 4}
CONFIGS = {
    "CoOp": "CoOp/vit_b16_ctxv1",
    "CoCoOp": "CoCoOp/vit_b16_c4_ep10_batch1_ctxv1",
    "IVLP": "IVLP/vit_b16_c2_ep20_batch4_4+4ctx",
    "PromptSRC": "PromptSRC/vit_b16_c2_ep20_batch4_4+4ctx",
}
ROOT = Path(__file__).parents[1]
BACKBONE = "benchmark-random-weights"


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
    batch: int, classes: int, sizes: dict[str, object], device: torch.device
) -> tuple[Tensor, Tensor]:
    """A batch of noise with labels."""
    generator = torch.Generator().manual_seed(0)
    resolution = sizes["image_resolution"]
    images = torch.randn(batch, 3, resolution, resolution, generator=generator)
    labels = torch.randint(classes, (batch,), generator=generator)
    return images.to(device), labels.to(device)


def build_plain(
    method: str, classes: int, device: torch.device, sizes: dict[str, object] = VIT_B16
) -> plain.CoOp:
    """The plain path of a method."""
    return plain.METHODS[method](random_clip(sizes), class_names(classes), device)


def build_ours(
    method: str,
    classes: int,
    precision: str,
    device: torch.device,
    output: Path,
    sizes: dict[str, object] = VIT_B16,
    options: tuple[object, ...] = (),
) -> Ours:
    """The registered trainer of a method, without data loaders; options are KEY, VALUE, ..."""
    cfg = get_cfg_default()
    trainers.extend_cfg(cfg)
    merge(cfg, ROOT / f"configs/trainers/{CONFIGS[method]}.yaml")
    cfg.TRAINER.NAME = method
    cfg.TRAINER[TRAINER_REGISTRY.get(method).node].PREC = precision
    cfg.MODEL.BACKBONE.NAME = BACKBONE
    cfg.OUTPUT_DIR, cfg.USE_CUDA = str(output), device.type == "cuda"
    cfg.INPUT.SIZE = (sizes["image_resolution"],) * 2
    merge(cfg, list(options))
    BUILTIN[BACKBONE] = lambda: random_clip(sizes).state_dict()
    with contextlib.redirect_stdout(io.StringIO()):
        trainer = build_without_data(cfg, class_names(classes))
    # in the middle of an epoch: no learning rate is changed
    trainer.epoch, trainer.batch_idx, trainer.num_batches = 0, 0, 1000
    trainer.start_epoch, trainer.max_epoch = 0, cfg.OPTIM.MAX_EPOCH
    return Ours(trainer)


class Ours:
    """A trainer under the names that the plain path has."""

    def __init__(self, trainer) -> None:
        self.trainer = trainer
        trainer.set_model_mode("train")
        self.teacher = self.model.teacher
        if self.teacher:
            # speed does not depend on the values; `build` computes the real ones
            shape = len(self.model.names), self.model.clip.embed_dim
            features = plain.normalise(torch.randn(shape)).to(trainer.device)
            self.model.teacher = lambda names: features

    @property
    def model(self) -> nn.Module:
        return self.trainer.model

    def step(self, images: Tensor, labels: Tensor) -> float:
        """One training step as in training, logged values included."""
        return self.trainer.forward_backward({"img": images, "label": labels})["loss"]

    def encode_classes(self) -> Tensor:
        """Normalised text features (C, embed_dim)."""
        return self.model.encode_classes()

    def build(self) -> None:
        """What building takes once CLIP is there: class names to prompts, and where the method has a
        teacher, its text features."""
        model, trainer = self.model, self.trainer
        with contextlib.redirect_stdout(io.StringIO()):
            trainer.build_learner(model.clip, model.names)
            trainer.build_template().layout(model.names)
        if self.teacher:
            TextTeacher(trainer.teacher_templates(), trainer.clip_in_fp32)(model.names)

    def end_epoch(self) -> Path:
        """Average where the method does, and write the checkpoint; returns its path."""
        trainer = self.trainer
        with contextlib.redirect_stdout(io.StringIO()):
            if hasattr(trainer, "average"):
                trainer.average.update(1, trainer.learned.tensors())
            trainer.save_model(0, trainer.output_dir)
        return Path(trainer.output_dir, trainer.checkpoint_name, "model.pth.tar-1")

    def image_passes(self, images: Tensor) -> Callable[[], None]:
        """The image-encoder passes that a training step cannot do without."""
        model = self.model
        prompted = model.prompt_learner.steer_image().acts

        def passes() -> None:
            if self.teacher:
                model.encode_images_twice(images)[0].sum().backward()
            elif prompted:
                model.encode_images(images).sum().backward()
            else:
                model.encode_images(images)

        return passes
