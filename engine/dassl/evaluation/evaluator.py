"""From a model's outputs to the figures that are reported."""

from __future__ import annotations

import os
from collections import OrderedDict, defaultdict
from typing import Any

import torch
from dassl.utils import InputError
from dassl.utils.tools import atomic_write
from yacs.config import CfgNode

from .build import EVALUATOR_REGISTRY

__all__ = ["Classification", "EvaluatorBase"]


class EvaluatorBase:
    """Takes outputs batch by batch, then gives the results."""

    def __init__(self, cfg: CfgNode) -> None:
        self.cfg = cfg

    def reset(self) -> None:
        """Forget all batches."""
        raise NotImplementedError

    def process(self, mo: Any, gt: Any) -> None:
        """Take the model's output and the ground truth of one batch."""
        raise NotImplementedError

    def evaluate(self) -> OrderedDict[str, float]:
        """Print and return the results; the first one is what a test returns."""
        raise NotImplementedError


@EVALUATOR_REGISTRY.register()
class Classification(EvaluatorBase):
    """Accuracy, error and macro-averaged F1 score, in percent.

    Args:
        cfg: the configuration.
        lab2cname: class name of each label; needed for ``TEST.PER_CLASS_RESULT``.

    Raises:
        ValueError: per-class results without class names.
    """

    def __init__(
        self, cfg: CfgNode, lab2cname: dict[int, str] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(cfg)
        if cfg.TEST.PER_CLASS_RESULT and lab2cname is None:
            raise ValueError(
                "TEST.PER_CLASS_RESULT needs the class names: build the evaluator with lab2cname"
            )
        self._lab2cname = lab2cname
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        self._correct = 0
        self._total = 0
        self._classes = 0
        self._y_true: list[int] = []
        self._y_pred: list[int] = []

    def process(self, mo: torch.Tensor, gt: torch.Tensor) -> None:
        """Take one batch.

        Args:
            mo: scores (batch, classes).
            gt: labels (batch,).
        """
        predicted, truth = mo.argmax(dim=1).cpu(), gt.cpu()
        self._correct += int((predicted == truth).sum())
        self._total += truth.shape[0]
        self._classes = mo.shape[1]
        self._y_true.extend(truth.tolist())
        self._y_pred.extend(predicted.tolist())

    def evaluate(self) -> OrderedDict[str, float]:
        """Print the results and return them.

        Returns:
            ``accuracy``, ``error_rate``, ``macro_f1`` (over the classes that occur), and with
            ``TEST.PER_CLASS_RESULT`` ``perclass_accuracy``, all in percent.

        Raises:
            InputError: no batch was taken.
        """
        if self._total == 0:
            raise InputError("There is nothing to evaluate: no test image was processed")
        accuracy = 100.0 * self._correct / self._total
        error_rate = 100.0 - accuracy
        macro_f1 = self._macro_f1()
        results = OrderedDict(accuracy=accuracy, error_rate=error_rate, macro_f1=macro_f1)
        print(
            "=> result\n"
            f"* total: {self._total:,}\n"
            f"* correct: {self._correct:,}\n"
            f"* accuracy: {accuracy:.1f}%\n"
            f"* error: {error_rate:.1f}%\n"
            f"* macro_f1: {macro_f1:.1f}%"
        )
        if self.cfg.TEST.PER_CLASS_RESULT:
            results["perclass_accuracy"] = self._report_classes()
        if self.cfg.TEST.COMPUTE_CMAT:
            self._save_confusion_matrix()
        return results

    def _macro_f1(self) -> float:
        """The mean of 2 TP / (2 TP + FP + FN) over the classes that occur, in percent.

        That of scikit-learn, whose import would take longer than many a test.
        """
        truth, predicted = torch.tensor(self._y_true), torch.tensor(self._y_pred)
        classes = int(max(truth.max(), predicted.max())) + 1
        hits, images, answers = (
            torch.bincount(labels, minlength=classes).double()
            for labels in (truth[truth == predicted], truth, predicted)
        )
        return 100.0 * float((2 * hits / (images + answers))[images > 0].mean())

    def _report_classes(self) -> float:
        hits: defaultdict[int, list[bool]] = defaultdict(list)
        for truth, predicted in zip(self._y_true, self._y_pred, strict=True):
            hits[truth].append(truth == predicted)
        print("=> per-class result")
        accuracies = []
        for label in sorted(hits):
            total, correct = len(hits[label]), sum(hits[label])
            accuracies.append(100.0 * correct / total)
            print(
                f"* class: {label} ({self._lab2cname[label]})\t"
                f"total: {total:,}\tcorrect: {correct:,}\tacc: {accuracies[-1]:.1f}%"
            )
        mean = sum(accuracies) / len(accuracies)
        print(f"* average: {mean:.1f}%")
        return mean

    def _save_confusion_matrix(self) -> None:
        """Rows are true classes, columns predicted ones, (classes, classes).

        A row sums to one, and to zero where its class has no test image.
        """
        from sklearn.metrics import confusion_matrix

        counts = confusion_matrix(
            self._y_true, self._y_pred, labels=range(self._classes), normalize="true"
        )
        matrix = torch.from_numpy(counts)
        path = os.path.join(self.cfg.OUTPUT_DIR, "cmat.pt")
        atomic_write(path, lambda stream: torch.save(matrix, stream))
        print(f"Confusion matrix is saved to {path}")
