"""Linear-probe CLIP (Radford et al. 2021), as CoOp has it for a baseline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from dassl.metrics import compute_accuracy
from torch import Tensor, nn

from prompting.backbone import CLIP
from prompting.class_prompts import PromptTemplate
from prompting.errors import InputError
from prompting.learner import PromptLearner
from prompting.prompted_clip import PromptedCLIP

from . import templates
from .frozen_features import image_features
from .logistic_regression import Samples, fit, search
from .prompt_trainer import PromptTrainer
from .registry import register


class LinearHead(PromptLearner):
    """Weights (C, embed_dim) and biases (C,) of the classes, and the C of the fit."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(classes, width))
        self.bias = nn.Parameter(torch.zeros(classes))
        self.register_buffer("C", torch.zeros(()))


class ProbedCLIP(PromptedCLIP):
    """CLIP's image encoder under a linear head; the text encoder has no part in it."""

    uses_text = False

    def encode_classes(self) -> Tensor:
        """In place of text features, weights and bias of every class: (C, embed_dim + 1)."""
        head = self.prompt_learner
        return torch.cat([head.weight, head.bias[:, None]], dim=1)

    def classify(self, features: Tensor) -> Tensor:
        """Raw image features (B, embed_dim) -> logits (B, C), in fp32."""
        head = self.prompt_learner
        with torch.autocast(features.device.type, enabled=False):
            return F.linear(features.float(), head.weight, head.bias)

    def forward(self, images: Tensor) -> Tensor:
        return self.classify(self.encode_images_raw(images))


@register
class LinearProbeCLIP(PromptTrainer):
    """Logistic regression on the frozen image encoder's raw features, under the transforms of tests.

    C, the inverse of the regularisation's strength, is searched on the validation images; a value above
    0 is taken as it is. Features are encoded once a picture, backbone and precision.
    """

    node = "LPCLIP"
    defaults = {"C": 0.0, "PREC": "fp16"}
    at_least = {"C": 0}
    checkpoint_name, saved_module = "linear_probe", "prompt_learner."
    by_steps = False
    model_class = ProbedCLIP

    def build_template(self) -> PromptTemplate:
        return PromptTemplate(templates.DEFAULT)

    def build_learner(self, clip: CLIP, names: Sequence[str]) -> PromptLearner:
        return LinearHead(len(names), clip.embed_dim)

    def before_train(self) -> None:
        dataset, key = self.cfg.DATASET.NAME, f"TRAINER.{self.node}.C"
        if len(self.model.names) < 2:
            raise InputError(f"{dataset} has one class: a linear probe needs two or more")
        val, test = (getattr(self.dm.dataset, part) or () for part in ("val", "test"))
        if not (val or self.options.C):
            raise InputError(
                f"{dataset} has no validation images, on which C is searched: add some, or give {key}"
            )
        if not self.options.C and {item.impath for item in val} & {item.impath for item in test}:
            print(
                f"{dataset} has no validation images of its own: C is searched on test images, as in "
                f"the published code, so that accuracy on them is optimistic. {key} gives it"
            )
        super().before_train()

    @torch.no_grad()
    def run_epoch(self) -> None:
        self.curves.start_epoch_anew()
        train, C = self._samples("train_x"), self.options.C
        validation = self._samples("val") if self.dm.dataset.val else None
        fitted = fit(C, train, validation) if C else search(train, validation)
        found = {"weight": fitted.weight, "bias": fitted.bias, "C": fitted.C}
        self.set_learned({name: torch.as_tensor(value) for name, value in found.items()})
        print(f"C = {fitted.C:.4g}, {100 * fitted.accuracy:.2f}% on validation images")
        logits = self.model.classify(torch.as_tensor(train.features).to(self.device)).cpu()
        labels = torch.as_tensor(train.labels)
        loss, accuracy = F.cross_entropy(logits, labels), compute_accuracy(logits, labels)[0]
        self.curves.add_step({"loss": float(loss), "acc": float(accuracy)})
        self.curves.end_epoch(self.epoch + 1, learning_rate=0.0)

    def logits_of(self, split: str) -> Iterator[tuple[Tensor, Tensor]]:
        features, labels = image_features(self, split)
        for batch in zip(features.split(100), labels.split(100), strict=True):
            on_device, of_batch = (each.to(self.device) for each in batch)
            yield self.model.classify(on_device), of_batch

    def _samples(self, part: str) -> Samples:
        features, labels = image_features(self, part)
        return Samples(features.double().numpy(), labels.numpy())


@register
class LinearProbeCLIPSameImages(LinearProbeCLIP):
    """A row of its own: the images are those of other trainers, where the published draw is another."""
