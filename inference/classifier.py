"""Pictures to class names and probabilities, with what a run has learned or with CLIP as it is."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from datasets.class_names import find_alike, has_control_character, seen_by_clip
from prompting.backbone import load_clip
from prompting.class_prompts import PromptTemplate
from prompting.errors import InputError
from prompting.learner import PromptLearner
from prompting.precision import Precision, resolve_precision
from prompting.prompted_clip import PromptedCLIP
from trainers.templates import DEFAULT

from . import runs
from .pictures import as_list, batches, path_of
from .preprocessing import Preprocessing

BATCH_SIZE = 100
ZERO_SHOT = "zero-shot CLIP"


@dataclass(frozen=True)
class Prediction:
    """What is found in one picture.

    path: "" for a picture in memory. names, labels, probabilities: of the classes, the most probable
    first; labels are places among the classifier's classes. Empty where the picture could not be read,
    with the reason in error.
    """

    path: str
    names: tuple[str, ...] = ()
    labels: tuple[int, ...] = ()
    probabilities: tuple[float, ...] = ()
    error: str = ""

    @property
    def name(self) -> str:
        """The most probable class; "" where the picture could not be read."""
        return self.names[0] if self.names else ""


class Classifier:
    """A prompted CLIP for given classes; `load` and `zero_shot` make one.

    Attributes:
        method: what trained it, such as "PromptSRC".
        backbone: the name of its CLIP.
        preprocessing: what becomes of a picture first.
        batch_size: pictures that are computed at once.
    """

    def __init__(
        self,
        model: PromptedCLIP,
        precision: Precision,
        preprocessing: Preprocessing,
        method: str,
        backbone: str,
        batch_size: int = BATCH_SIZE,
    ) -> None:
        self.model, self.precision, self.preprocessing = model, precision, preprocessing
        self.method, self.backbone, self.batch_size = method, backbone, batch_size

    @classmethod
    def load(
        cls,
        run: str | Path,
        device: str | None = None,
        precision: str | None = None,
        backbone: str | None = None,
    ) -> Classifier:
        """What a training has learned, for the classes it was trained on. No dataset is needed.

        Args:
            run: the folder of a finished training, or a file of prompts (model.pth.tar-*, or the
                prompts.safetensors that is shared).
            device: cpu or cuda; by default CUDA where there is one.
            precision: fp32, fp16, amp or bf16; by default that of the training, and fp32 where the
                device cannot compute in it.
            backbone: the CLIP, where the one that the file names lies elsewhere here.

        Raises:
            InputError: no such run, or an unfinished one; a damaged file; another CLIP than the
                training's.
        """
        path = runs.find(run)
        trainer = runs.build(path, runs.read(path), device, precision, backbone)
        cfg = trainer.cfg
        return cls(
            trainer.model,
            trainer.precision,
            Preprocessing.of_config(cfg),
            cfg.TRAINER.NAME,
            cfg.MODEL.BACKBONE.NAME,
            cfg.DATALOADER.TEST.BATCH_SIZE,
        )

    @classmethod
    def zero_shot(
        cls,
        backbone: str,
        classes: Sequence[str],
        template: str = DEFAULT,
        device: str | None = None,
        precision: str = "fp32",
        activation: str = "",
    ) -> Classifier:
        """CLIP as it is, without any run.

        Args:
            backbone: an OpenAI CLIP such as "ViT-B/16", one of another library, a file, or a built-in
                one.
            classes: any names.
            template: a text with {} for the class name.
            device, precision: as for `load`.
            activation: gelu or quick_gelu, of a file that does not say it; QuickGELU by default.

        Raises:
            InputError: no such backbone; class names or a template that cannot be used.
        """
        names = check_classes(classes)
        asked, chosen = PromptTemplate(template), runs.find_device(device)
        computing = resolve_precision(precision, chosen)
        clip = load_clip(backbone, activation)
        model = PromptedCLIP(clip, PromptLearner().eval(), asked, names)
        computing.cast(clip)
        model.to(chosen)
        preprocessing = Preprocessing.of_clip(clip)
        return cls(model, computing, preprocessing, ZERO_SHOT, backbone)

    @property
    def classes(self) -> list[str]:
        """The names among which pictures are told apart, in the order of their labels."""
        return list(self.model.names)

    @property
    def trained_classes(self) -> list[str]:
        """The names that it was trained on; those of zero-shot CLIP are its own."""
        return list(self.model.trained_classes)

    def with_classes(self, classes: Sequence[str]) -> Classifier:
        """The same for other class names; encoders and prompts are shared, not copied.

        Warns where the method knows more of the classes it was trained on than their names, and that
        cannot serve these.

        Raises:
            InputError: every class has a context of its own; a name is empty, too long, or the same to
                the text encoder as another.
        """
        other = copy.copy(self)
        other.model = self.model.with_classes(check_classes(classes))
        if other.model.knows_trained_classes and other.model.trained_rows() is None:
            warnings.warn(
                f"{self.method} knows more of the classes it was trained on than their names say "
                f"({_in_short(self.trained_classes)}); with others among them all are told apart by "
                "their names alone",
                stacklevel=2,
            )
        return other

    def untrained(self, template: str = DEFAULT) -> Classifier:
        """The CLIP under it as it is, for the same classes and pictures: zero-shot.

        Args:
            template: a text with {} for the class name.

        Raises:
            InputError: the template cannot be used.
        """
        other = copy.copy(self)
        clip, asked = self.model.clip, PromptTemplate(template)
        other.model = PromptedCLIP(clip, PromptLearner().eval(), asked, self.classes)
        other.method = ZERO_SHOT
        return other

    def predict(
        self,
        images: Any,
        top: int = 5,
        batch_size: int | None = None,
        workers: int | None = None,
        progress: bool = False,
    ) -> list[Prediction]:
        """Classify pictures; the answers are in their order.

        Args:
            images: paths, Pillow images, arrays of bytes (H, W, 3) or (H, W), tensors of bytes
                (3, H, W), or tensors of floats (3, R, R) as `preprocessing.transform` gives them; one
                or many, of several kinds if need be.
            top: classes in every answer.
            batch_size: pictures at once; by default as in the run's own test.
            workers: processes that read files; None for as many as help.
            progress: show a bar.

        Raises:
            InputError: top or batch_size is less than 1. A picture that cannot be read raises nothing:
                its answer says why.
        """
        return list(self.stream(images, top, batch_size, workers, progress))

    def stream(
        self,
        images: Any,
        top: int = 5,
        batch_size: int | None = None,
        workers: int | None = None,
        progress: bool = False,
    ) -> Iterator[Prediction]:
        """`predict`, an answer at a time: memory holds a few batches, however many pictures there
        are."""
        if top < 1:
            raise InputError(f"top is {top}: expected at least 1")
        names, images = self.classes, as_list(images)
        rows = self._rows(images, self._probabilities, batch_size, workers, progress)
        for image, (probabilities, error) in zip(images, rows, strict=True):
            path = path_of(image)
            if probabilities is None:
                yield Prediction(path, error=error)
                continue
            # a stable order, so that of equal ones the first is named, as in a test
            values, labels = probabilities.sort(descending=True, stable=True)
            labels = labels[:top].tolist()
            named = tuple(names[label] for label in labels)
            yield Prediction(path, named, tuple(labels), tuple(values[:top].tolist()))

    def logits(self, images: Any, batch_size: int | None = None, progress: bool = False) -> Tensor:
        """Logits (N, C) of pictures, fp32 on the CPU; images and progress as for `predict`.

        Raises:
            InputError: a picture cannot be read.
        """
        return self._matrix(images, self.model, batch_size, len(self.model.names), progress)

    def encode_images(self, images: Any, batch_size: int | None = None) -> Tensor:
        """Image features of length 1, (N, embed_dim), fp32 on the CPU; images as for `predict`.

        Raises:
            InputError: a picture cannot be read.
        """
        width = self.model.clip.embed_dim
        return self._matrix(images, self.model.encode_images, batch_size, width)

    @torch.no_grad()
    def encode_classes(self) -> Tensor:
        """Features of the classes of length 1, (C, embed_dim), fp32 on the CPU.

        Raises:
            InputError: they depend on the picture, or classes are not known by their texts.
        """
        self.check_text(f"{self.method} has no class features of its own to give")
        if not self.model.uses_text:
            raise InputError(
                f"{self.method} has no class features to give: every class has weights of its own, in "
                "the file of the run. Classify with predict"
            )
        with self.precision.autocast():
            return self.model.class_features().float().cpu()

    def check_text(self, refused: str) -> None:
        """Raise `InputError` where the class features depend on the picture."""
        if self.model.text_depends_on_image:
            raise InputError(
                f"{refused}: its class features are other ones for every picture. Classify with "
                "predict"
            )

    def _matrix(
        self,
        images: Any,
        compute: Any,
        batch_size: int | None,
        width: int,
        progress: bool = False,
    ) -> Tensor:
        images = as_list(images)
        found = []
        rows = self._rows(images, compute, batch_size, progress=progress)
        for image, (row, error) in zip(images, rows, strict=True):
            if row is None:
                raise InputError(
                    f"{path_of(image) or f'picture {len(found)}'} cannot be read: {error}"
                )
            found.append(row)
        return torch.stack(found) if found else torch.empty(0, width)

    def _probabilities(self, images: Tensor) -> Tensor:
        return self.model(images).float().softmax(1)

    def _rows(
        self,
        images: Sequence[Any],
        compute: Any,
        batch_size: int | None,
        workers: int | None = None,
        progress: bool = False,
    ) -> Iterator[tuple[Tensor | None, str]]:
        """For every picture a row of what is computed, or None and the reason."""
        size = self.batch_size if batch_size is None else batch_size
        if size < 1:
            raise InputError(f"the batch size is {size}: expected at least 1")
        device = self.precision.device
        loaded = batches(images, self.preprocessing, size, workers) if images else ()
        with tqdm(total=len(images), unit="picture", disable=None if progress else True) as bar:
            for reasons, pixels in loaded:
                rows: Iterable[Tensor] = ()
                if pixels is not None:
                    # not around the yield below, which would leave it on in what calls this
                    with torch.no_grad(), self.precision.autocast():
                        rows = compute(pixels.to(device, non_blocking=True)).float().cpu()
                found = iter(rows)
                for reason in reasons:
                    yield (None, reason) if reason else (next(found), "")
                bar.update(len(reasons))


def check_classes(classes: Sequence[str]) -> list[str]:
    """The class names, once they can be told apart.

    Raises:
        InputError: there is none, one is empty or holds control characters, or two are the same to
            the text encoder.
    """
    if isinstance(classes, str):
        raise InputError(f"the classes are {classes!r}: expected a list of names")
    names = [str(name) for name in classes]
    if not names:
        raise InputError("there are no class names: give at least one")
    if empty := [index for index, name in enumerate(names, start=1) if not seen_by_clip(name)]:
        raise InputError(f"class name {empty[0]} of {len(names)} is empty: remove it or name it")
    if controls := [name for name in names if has_control_character(name)]:
        raise InputError(
            f"the class name {controls[0]!r} holds a tab, a line break or another control "
            "character: give one name a class, in printable characters"
        )
    if alike := find_alike(names):
        same = " and ".join(repr(names[index]) for index in alike[0])
        raise InputError(f"the class names {same} are one to CLIP: keep one of them")
    return names


def _in_short(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f", and {len(names) - 5} more" if len(names) > 5 else "")
