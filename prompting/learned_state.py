"""What is learned, to and from checkpoints: complete by construction, and proven by a probe.

A file of ours holds the learner's whole state under the names that the published code uses, and must
fit exactly. A published file may hold a whole model: its learned tensors are taken by the same names,
and all else in it must be known to be frozen or unused.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .checkpoints import CheckpointError
from .errors import InputError
from .learner import PromptLearner
from .prompted_clip import PromptedCLIP
from .tensors import in_short, unfit

PROBE_CLASSES = 4
# difference of a probe's features, of length one, that rounding explains: both sides fp32, or not
_SAME_FP32, _MIXED = 1e-3, 3e-2
# parts of published files that depend on the class names
_OF_CLASS_NAMES = r"(.*\.)?token_(prefix|suffix)"


def check_complete(learner: PromptLearner) -> None:
    """Every tensor of the learner's state has one published name, and no two share one.

    Raises:
        InputError: names what `published_names` forgets, invents or confuses.
    """
    names, state = learner.published_names(), learner.state_dict()
    problems = [f"{name} has no published name" for name in state if name not in names]
    problems += [f"{name} is no tensor of the learner" for name in names if name not in state]
    given = list(names.values())
    problems += [f"{name} is given twice" for name in sorted(set(given)) if given.count(name) > 1]
    if problems:
        raise InputError(
            f"published_names() of {type(learner).__name__} must name every learned tensor once, or it "
            f"would be lost in checkpoints: {'; '.join(problems)}"
        )


class LearnedState:
    """The state of a learner under its names in files.

    Args:
        model: the model whose learner it is.
        saved_module: the leading part of published names that published files leave out.
        unused: patterns of what published files hold beside frozen weights and learned tensors.
    """

    def __init__(self, model: PromptedCLIP, saved_module: str, unused: Collection[str]) -> None:
        self.model, self._saved_module = model, saved_module
        self._unused = re.compile("|".join([_OF_CLASS_NAMES, *unused]))

    def tensors(self) -> dict[str, Tensor]:
        """The learner's own tensors, by name in files."""
        published = self.model.prompt_learner.published_tensors()
        return {name.removeprefix(self._saved_module): value for name, value in published.items()}

    def copy(self) -> dict[str, Tensor]:
        """Copies on the CPU, by name in files."""
        return {name: value.detach().cpu().clone() for name, value in self.tensors().items()}

    @torch.no_grad()
    def load(self, path: Path, values: Mapping[str, Tensor], ours: bool) -> None:
        """Set the learner's tensors.

        Args:
            path: for messages.
            values: by name in files.
            ours: whether our own code wrote them, so that they must fit exactly.

        Raises:
            CheckpointError: a tensor is missing, has another shape, is not finite, or is unknown here.
        """
        own = self.tensors()
        problems = [f"{name} is not in the file" for name in own if name not in values]
        problems += [
            f"{name} has no place here"
            for name in values
            if name not in own and (ours or not self._may_be_left(name))
        ]
        problems += [
            f"{name} is {tuple(values[name].shape)} in the file and {tuple(tensor.shape)} here"
            for name, tensor in own.items()
            if name in values and values[name].shape != tensor.shape
        ]
        problems += unfit(
            {name: values[name] for name in own if name in values and own[name].is_floating_point()}
        )
        if problems:
            raise CheckpointError(
                f"{path} does not fit: {in_short(problems)}. Method, prompt depth, context "
                "length and backbone must be those of the training run"
            )
        for name, tensor in own.items():
            tensor.copy_(values[name])

    def _may_be_left(self, name: str) -> bool:
        if self._unused.fullmatch(name):
            return True
        tower, _, rest = name.partition(".")
        frozen = {"image_encoder": "image", "text_encoder": "text"}.get(tower)
        own_name = f"{frozen}.{rest}" if frozen else name
        return own_name in self.model.clip.state_dict()


@torch.no_grad()
def probe(
    model: PromptedCLIP, precision: str, names: Sequence[str] | None = None
) -> dict[str, Any]:
    """Features of a few classes and logits of a fixed picture, as plain types and tensors.

    Args:
        model: what is probed.
        precision: the one that it computes in.
        names: those of an earlier probe; by default the first few of the model's classes.
    """
    learner = model.prompt_learner
    training = learner.training
    learner.eval()
    names = model.names[:PROBE_CLASSES] if names is None else list(names)
    asked = model if model.bound_to_classes else model.with_classes(names)
    size = model.clip.resolution
    picture = torch.linspace(-3, 3, 3 * size * size).sin().view(1, 3, size, size)
    device = model.clip.logit_scale.device
    found = {
        "classnames": names,
        "precision": precision,
        "class_features": asked.encode_classes()[: len(names)].float().cpu(),
        "logits": asked(picture.to(device))[:, : len(names)].float().cpu(),
        "logit_scale": float(model.clip.logit_scale.exp()),
    }
    learner.train(training)
    return found


def check_probe(path: Path, saved: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Compare the probe of a checkpoint with that of the model it was loaded into.

    Raises:
        CheckpointError: they differ by more than rounding: activation, tokenizer, weights or code are
            not those of the training run.
    """
    exact = saved.get("precision") == now["precision"] == "fp32"
    for key, what in (("class_features", "class features"), ("logits", "logits")):
        if now[key].shape != saved[key].shape:
            raise CheckpointError(
                f"{path}: its probe holds {what} of shape {tuple(saved[key].shape)}, and here they are "
                f"{tuple(now[key].shape)}: it was made for another method or backbone"
            )
        # logits near zero differ by as much as others: their unit is that of a cosine of one
        unit = now["logit_scale"] if key == "logits" else 1.0
        difference = (now[key] - saved[key]).norm() / (unit * len(saved["classnames"]) ** 0.5)
        if not difference <= (_SAME_FP32 if exact else _MIXED):
            raise CheckpointError(
                f"{path} gives other {what} here than when it was saved (difference "
                f"{float(difference):.1e}, of {', '.join(map(repr, saved['classnames']))}): the "
                "backbone's activation, its tokenizer, its weights or the code are not those of the "
                "training run"
            )
