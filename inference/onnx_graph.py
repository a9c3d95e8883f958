"""One graph from pictures to logits, in ONNX, and its comparison with what it was made of."""

from __future__ import annotations

import copy
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from prompting.errors import InputError
from prompting.prompted_clip import PromptedCLIP

from .classifier import Classifier

INPUT, OUTPUT = "images", "logits"
TOLERANCE = 1e-4
"""Largest difference of a logit; they are cosines times about 100."""
COMPARED = (1, 7)
"""Sizes of the batches that both are given: the graph was made with another one."""
OLDEST_TORCH = (2, 6)


class Graph(nn.Module):
    """The image encoder with what acts in it, against class features that are computed already."""

    def __init__(self, model: PromptedCLIP) -> None:
        super().__init__()
        self.model = copy.copy(model)
        self.register_buffer("features", model.class_features())
        # the text encoder is left out
        self.model.class_features = lambda: self.features

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, R, R) -> (B, C)."""
        return self.model(images).float()


@dataclass(frozen=True)
class Comparison:
    """ONNX Runtime against PyTorch: labels that are equal, of how many, and how far logits differ."""

    equal: int
    count: int
    difference: float

    @property
    def holds(self) -> bool:
        return self.equal == self.count and self.difference <= TOLERANCE


def export(classifier: Classifier, path: Path) -> int:
    """Write the graph of a classifier in fp32 on the CPU; returns its opset.

    Raises:
        InputError: class features depend on the picture, or what exports is not installed.
    """
    classifier.check_text(f"{classifier.method} cannot be exported as one graph")
    onnx = _needed()
    side = classifier.preprocessing.resolution
    graph, images = Graph(classifier.model).eval(), torch.zeros(2, 3, side, side)
    with torch.no_grad(), _quietly():
        batch = torch.export.Dim("batch")
        exported = torch.export.export(graph, (images,), dynamic_shapes=({0: batch},))
        program = torch.onnx.export(
            exported,
            dynamo=True,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: "batch"},),
        )
        program.save(path, external_data=False)
    return max(each.version for each in onnx.load(path, load_external_data=False).opset_import)


def _needed():
    try:
        import onnx
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"{error.name} is not installed, which the export needs: pip install -r "
            "requirements-export.txt"
        ) from error
    if tuple(map(int, torch.__version__.split(".")[:2])) < OLDEST_TORCH:
        raise InputError(
            f"torch {torch.__version__} is too old for the export: it needs "
            f"{'.'.join(map(str, OLDEST_TORCH))} or later"
        )
    return onnx


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what the exporter says of its own steps."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def compare(classifier: Classifier, path: Path) -> Comparison:
    """Give the graph and the classifier the same pictures: noise, as far from each other as any."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    side = classifier.preprocessing.resolution
    source = torch.Generator().manual_seed(0)
    equal, count, difference = 0, 0, 0.0
    for size in COMPARED:
        images = torch.randn(size, 3, side, side, generator=source)
        ours = classifier.logits(images)
        (theirs,) = session.run([OUTPUT], {INPUT: images.numpy()})
        theirs = torch.from_numpy(theirs)
        equal += int((ours.argmax(1) == theirs.argmax(1)).sum())
        count += size
        difference = max(difference, float((ours - theirs).abs().max()))
    return Comparison(equal, count, difference)
