"""What the page about a run says: its figures in words, its sections, and what is left out and why."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch.nn.functional as F

from prompting.words import nearest_words, typical_distance

from . import charts
from .calibration import BINS, Reliability, best_temperature
from .evaluation import Evaluation
from .inspection import Inspection
from .page import Section, Table

MISTAKES = 24
CONFUSIONS = 12
WORDS = 8
VECTORS = 32
"""So many context vectors are shown; class-specific contexts have one set a class."""
FEW = 100
"""Of fewer pictures, a calibration error is mostly chance."""


def percent(value: float, sign: str = "") -> str:
    """As people read it; a class without pictures has none."""
    return "" if np.isnan(value) else f"{value:{sign}.1f}"


def error_of(found: Evaluation) -> float:
    """The expected calibration error."""
    return Reliability.of(found.confidence, found.correct).error


def about(found: Inspection) -> str:
    """What was inspected, in a line."""
    data = found.cfg.DATASET
    classes = "" if data.SUBSAMPLE_CLASSES == "all" else f"{data.SUBSAMPLE_CLASSES} classes, "
    shots = f"{data.NUM_SHOTS} shots" if data.NUM_SHOTS > 0 else "all training pictures"
    return (
        f"{found.backbone}, {classes}{shots}, seed {found.cfg.SEED}, epoch {found.epoch}; computed in "
        f"{found.computed_in}"
    )


def cards(found: Inspection) -> Iterator[tuple[str, str]]:
    """The figures that come first."""
    test, before = found.test, found.before
    yield f"{percent(test.accuracy)}%", f"right, of {len(test.paths):,} test pictures"
    yield f"{percent(before.accuracy)}%", "zero-shot CLIP on the same"
    yield f"{percent(test.mean_by_class)}%", f"mean over {len(test.names):,} classes"
    yield f"{100 * error_of(test):.1f}%", "calibration error (ECE)"
    yield f"{100 * error_of(before):.1f}%", "that of zero-shot CLIP"


def all_sections(found: Inspection) -> list[Section]:
    """Every section of the page."""
    return [
        by_class(found),
        confusion(found.test),
        mistakes(found.test),
        calibration(found),
        words(found),
        training(found),
    ]


def by_class(found: Inspection) -> Section:
    """Accuracy by class, beside zero-shot CLIP."""
    test, before = found.test, found.before
    counts, count = test.confusion.sum(1), len(test.names)
    said = [
        f"Pictures of each class that got its name, in percent; behind a name, how many there are. "
        f'Zero-shot CLIP was asked "{found.template}".'
    ]
    if count > charts.NAMED:
        said.append(f"Shown are the {charts.NAMED} classes of {count} that come out worst.")
    notes = []
    if test.accuracy < before.accuracy:
        notes.append(
            "What was learned is worse here than CLIP as it is: too few pictures, too high a rate, or "
            "classes that it was not trained on."
        )
    if empty := int((counts == 0).sum()):
        notes.append(f"{empty} classes have no test pictures.")
    return Section(
        "Accuracy by class",
        said,
        ("accuracy_by_class", charts.accuracy_by_class(test, before)),
        [classes_table(found)],
        notes,
    )


def classes_table(found: Inspection) -> Table:
    """A row a class, before and after."""
    test, before = found.test, found.before
    headers = ("class", "pictures", "zero-shot (%)", "trained (%)", "difference")
    columns = (
        test.names,
        test.confusion.sum(1),
        map(percent, before.by_class),
        map(percent, test.by_class),
        (percent(each, "+") for each in test.by_class - before.by_class),
    )
    return Table(headers, list(zip(*columns, strict=True)), "All classes as a table")


def pictures_table(found: Inspection) -> Table:
    """A row a test picture: what it is, and what it was taken for."""
    test, before = found.test, found.before
    headers = ("path", "true", "predicted", "probability", "zero-shot")
    columns = (
        test.paths,
        (test.names[label] for label in test.labels.tolist()),
        (test.names[label] for label in test.predicted),
        (f"{value:.6g}" for value in test.confidence),
        (test.names[label] for label in before.predicted),
    )
    return Table(headers, list(zip(*columns, strict=True)))


def confusion(test: Evaluation) -> Section:
    """Which class is taken for which."""
    off = test.confusion - np.diag(test.confusion.diagonal())
    most = np.argsort(-off, axis=None, kind="stable")[:CONFUSIONS]
    pairs = [np.unravel_index(place, off.shape) for place in most]
    counts = test.confusion.sum(1)
    rows = [
        (test.names[true], test.names[taken], f"{off[true, taken]} of {counts[true]}")
        for true, taken in pairs
        if off[true, taken]
    ]
    headers = ("pictures of", "were taken for", "how many")
    return Section(
        "Confusion matrix",
        [
            "A row is a true class, a column what its pictures were taken for. The diagonal is right."
        ],
        ("confusion_matrix", charts.confusion_matrix(test)),
        [Table(headers, rows, "The most frequent mistakes")] if rows else [],
    )


def mistakes(test: Evaluation) -> Section:
    """The surest wrong answers."""
    title, chosen = "Surest mistakes", test.mistakes(MISTAKES)
    if not chosen:
        return Section(title, ["No test picture got a wrong name."])
    wrong = int((~test.correct).sum())
    which = f"The {len(chosen)} of {wrong:,}" if wrong > len(chosen) else f"All {wrong}"
    return Section(
        title,
        [
            f"{which} wrong answers, the most probable first. In red what the picture was taken for, "
            "with its probability, below it the true class. A wrong label shows here first."
        ],
        ("mistakes", charts.contact_sheet(test, chosen)),
        notes=["Pictures are cut as the model sees them. All answers are in pictures.csv."],
    )


def calibration(found: Inspection) -> Section:
    """Probabilities against frequencies, as they are and at the temperature that validation chooses."""
    test, validation = found.test, found.validation
    states = {"zero-shot CLIP": found.before, "trained": test}
    temperature = None
    if validation:
        temperature = best_temperature(validation.logits, validation.labels)
    if temperature:
        cooled = Evaluation(test.names, test.paths, test.labels, test.logits / temperature)
        states[f"trained, T = {temperature:.2f}"] = cooled
    diagrams = {
        name: Reliability.of(each.confidence, each.correct) for name, each in states.items()
    }
    rows = [
        (
            name,
            percent(each.accuracy),
            percent(100 * float(each.confidence.mean())),
            f"{100 * diagrams[name].error:.2f}",
            f"{F.cross_entropy(each.logits.double(), each.labels):.3f}",
        )
        for name, each in states.items()
    ]
    notes = [
        f"ECE: the mean gap between probability and accuracy over {BINS} bins of equal width, weighed "
        "by their pictures, over the whole test set. On the dashed line both agree; red is surer than "
        "right, pale blue more right than sure."
    ]
    if len(test.paths) < FEW:
        notes.append(f"Of {len(test.paths)} pictures an ECE is mostly chance.")
    sure = 100 * float(test.confidence.mean())
    headers = ("", "accuracy (%)", "mean probability (%)", "ECE (%)", "cross entropy")
    return Section(
        "Calibration",
        [
            f"Of the answers given with probability 0.8, are 80% right? By their probabilities "
            f"{sure:.1f}% of all should be right here, and {test.accuracy:.1f}% are.",
            _about_temperature(validation, temperature),
        ],
        ("reliability", charts.reliability(diagrams)),
        [Table(headers, rows)],
        notes,
    )


def _about_temperature(validation: Evaluation | None, temperature: float | None) -> str:
    if validation is None:
        return "No temperature is chosen: there are no validation pictures of their own."
    of = f"{len(validation.paths):,} validation pictures"
    if temperature is None:
        return f"No temperature is chosen: the {of} are too few or too easy to bound it."
    return (
        f"On the {of} the temperature T = {temperature:.2f} is best: divide logits by it before the "
        "softmax. It changes probabilities, and no answer."
    )


def words(found: Inspection) -> Section:
    """The words nearest to the context vectors."""
    title = "Nearest words"
    if found.context is None:
        return Section(
            title,
            [f"{found.method} learns no vectors in the place of words: there is nothing to read."],
        )
    shown, apart = found.context[:VECTORS], typical_distance(found.embeddings)
    nearest = nearest_words(shown, found.embeddings, WORDS)
    rows = [
        (number, *(f"{word}  {distance:.2f}" for word, distance in row))
        for number, row in enumerate(nearest, start=1)
    ]
    said = [
        "Each learned vector of the first layer, and the words of CLIP's vocabulary nearest to it, "
        f"with their distances. A word and its own neighbour are {apart:.2f} apart (median).",
        "Most of this means nothing: vectors are not made of words, and what is nearest may be far.",
    ]
    if len(found.context) > VECTORS:
        said.append(f"Shown are the first {VECTORS} of {len(found.context)} vectors.")
    headers = ("vector", *(f"{rank}." for rank in range(1, len(rows[0]))))
    return Section(title, said, tables=[Table(headers, rows)])


def training(found: Inspection) -> Section:
    """The curves of the training."""
    title = "Training"
    if not found.epochs:
        return Section(title, [f"There are no curves: {found.run} has no curves.json beside it."])
    seconds = sum(each.get("seconds", 0) for each in found.epochs)
    steps = sum(each.get("steps", 0) for each in found.epochs)
    said = [f"{len(found.epochs)} epochs, {steps:,} steps, {seconds:,.0f} seconds."]
    first, last = (each.get("loss") for each in (found.epochs[0], found.epochs[-1]))
    if len(found.epochs) > 1 and first is not None and last >= first:
        said.append("The loss did not fall: nothing was learned, or what was learned did not fit.")
    if not found.tests:
        said.append(
            "TEST.EVERY 5 in the training tests every fifth epoch, which is then shown too."
        )
    return Section(title, said, ("training", charts.training(found.epochs, found.tests)))
