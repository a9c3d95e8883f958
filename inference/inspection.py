"""All that there is to see of a run: its answers, zero-shot CLIP's, its vectors and its training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from yacs.config import CfgNode

from prompting.words import context_of
from trainers import curves, templates

from . import runs
from .classifier import Classifier
from .evaluation import Evaluation, configuration_of, evaluate, load_dataset


@dataclass(frozen=True)
class Inspection:
    """What was found.

    Attributes:
        run: the folder or file that was inspected.
        method, backbone, epoch, computed_in: of its classifier.
        cfg: its configuration, with the data that were looked at.
        test: its answers on the test set.
        before: those of zero-shot CLIP under `template`.
        validation: its answers on the validation set; None where there is none of its own.
        context: its context vectors (M, text width); None where it has none.
        embeddings: of the words of its CLIP, (vocabulary, text width).
        epochs, tests: the curves of its training.
    """

    run: Path
    method: str
    backbone: str
    epoch: int
    computed_in: str
    cfg: CfgNode
    test: Evaluation
    before: Evaluation
    template: str
    validation: Evaluation | None
    context: Tensor | None
    embeddings: Tensor
    epochs: Sequence[dict[str, Any]]
    tests: Sequence[dict[str, Any]]


def inspect_run(
    run: str | Path,
    root: str | None = None,
    options: Sequence[str] = (),
    device: str | None = None,
    precision: str | None = None,
    backbone: str | None = None,
    before: Evaluation | None = None,
    progress: bool = False,
) -> Inspection:
    """Classify the test set of a run again, and gather what else it left.

    Args:
        run, device, precision, backbone: as for `Classifier.load`.
        root: the data root here, where the training had another.
        options: KEY VALUE pairs that say other data than the training's.
        before: zero-shot CLIP's answers, where they are known.
        progress: show bars.

    Raises:
        InputError: no such run; or its pictures are not here, or others than it began with.
    """
    path = runs.find(run)
    folder = path.parent.parent if Path(run).expanduser().is_dir() else None
    checkpoint = runs.read(path)
    cfg = configuration_of(checkpoint["header"], root, options)
    kept = curves.read(folder or path.parent)
    dataset = load_dataset(cfg, None if options else folder)
    classifier = Classifier.load(path, device, precision, backbone)
    names = list(dataset.classnames)
    if names != classifier.classes:
        classifier = classifier.with_classes(names)
    template = templates.of_dataset(cfg.DATASET.NAME)
    has_validation = dataset.val and dataset.val != dataset.test

    def answers(of: Classifier, items: Sequence[Any]) -> Evaluation:
        return evaluate(of, items, names, progress)

    return Inspection(
        run=folder or path,
        method=classifier.method,
        backbone=classifier.backbone,
        epoch=checkpoint["epoch"],
        computed_in=f"{classifier.precision.name} on {classifier.precision.device}",
        cfg=cfg,
        test=answers(classifier, dataset.test),
        before=before or answers(classifier.untrained(template), dataset.test),
        template=template,
        validation=answers(classifier, dataset.val) if has_validation else None,
        context=context_of(checkpoint["state_dict"]),
        embeddings=classifier.model.clip.text.token_embedding.weight.detach().cpu(),
        epochs=kept["epochs"],
        tests=kept["tests"],
    )
