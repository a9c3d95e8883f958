"""The linear probe: its search, its images, its features, and what it cannot serve."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from inference import Classifier
from prompting.errors import InputError
from tests import tiny_clip
from trainers import logistic_regression
from trainers.logistic_regression import STARTS, STEPS, Fit, Samples, search

from .conftest import CLASSES, Run, Trained, accuracy, learned


def samples(random: np.random.Generator, count: int, classes: int = 3, width: int = 4) -> Samples:
    """Overlapping classes, so that regularisation matters."""
    labels = np.arange(count) % classes
    centres = np.eye(classes, width)
    return Samples(centres[labels] + 1.2 * random.standard_normal((count, width)), labels)


def published_path(accuracy_of) -> float:
    """The C that the published loops end with: both ends are fitted anew in each step."""
    accuracies = [accuracy_of(C) for C in STARTS]
    peak = STARTS[int(np.argmax(accuracies))]
    left, right = np.log10(peak) - 1, np.log10(peak) + 1
    chosen = peak
    for _ in range(STEPS):
        on_left, on_right = accuracy_of(10**left), accuracy_of(10**right)
        middle = 0.5 * (left + right)
        if on_left < on_right:
            chosen, left = 10**right, middle
        else:
            chosen, right = 10**left, middle
    return float(chosen)


@pytest.mark.parametrize("seed", range(4))
def test_the_search_is_the_published_one_on_an_independent_solver(seed: int) -> None:
    random = np.random.default_rng(seed)
    train, validation = samples(random, 30), samples(random, 24)
    one_hot = np.eye(3)[train.labels]

    def solve(C: float) -> np.ndarray:
        """Minimise 1/2 |W|^2 + C sum of cross entropies, the bias free."""
        x = np.column_stack([train.features, np.ones(len(train.features))])

        def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
            weights = flat.reshape(3, -1)
            log = log_softmax(x @ weights.T, axis=1)
            penalised = weights * np.r_[np.ones(weights.shape[1] - 1), 0]
            value = 0.5 * (penalised**2).sum() - C * (log * one_hot).sum()
            return value, (penalised + C * (np.exp(log) - one_hot).T @ x).ravel()

        start = np.zeros(3 * x.shape[1])
        options = {"maxiter": 5000, "gtol": 1e-9, "ftol": 1e-15}
        return minimize(objective, start, jac=True, method="L-BFGS-B", options=options).x.reshape(
            3, -1
        )

    def accuracy_of(C: float) -> float:
        weights = solve(C)
        logits = validation.features @ weights[:, :-1].T + weights[:, -1]
        return (logits.argmax(1) == validation.labels).mean()

    found = search(train, validation)
    expected = published_path(accuracy_of)
    np.testing.assert_allclose(found.C, expected, rtol=1e-9)
    assert found.accuracy == accuracy_of(expected)
    weights = solve(expected)
    ours = train.features @ found.weight.T + found.bias
    theirs = train.features @ weights[:, :-1].T + weights[:, -1]
    np.testing.assert_allclose(
        ours - ours.mean(1, keepdims=True), theirs - theirs.mean(1, keepdims=True), atol=0.02
    )


@pytest.mark.parametrize(
    "accuracy_of",
    [
        lambda C: 0.5,  # all the same: the first start, and then always the left end
        lambda C: -abs(np.log10(C) - 2.3),
        lambda C: -abs(np.log10(C) + 6.9),  # beyond the last start
        lambda C: round(np.sin(5 * np.log10(C)), 1),  # with ties
    ],
)
def test_ties_and_ends_are_those_of_the_published_loops(accuracy_of, monkeypatch) -> None:
    fitted: list[float] = []

    def fit(C, *_) -> Fit:
        fitted.append(C)
        return Fit(C, np.empty(0), np.empty(0), accuracy_of(C))

    monkeypatch.setattr(logistic_regression, "fit", fit)
    np.testing.assert_allclose(search(None, None).C, published_path(accuracy_of), rtol=1e-12)
    assert len(fitted) == len(STARTS) + 2 + STEPS - 1  # the end that stays is not fitted again


def test_the_two_logits_of_two_classes() -> None:
    train = samples(np.random.default_rng(0), 40, classes=2)
    found = logistic_regression.fit(1.0, train)
    logits = torch.tensor(train.features @ found.weight.T + found.bias)
    expected = LogisticRegression(C=1.0).fit(train.features, train.labels)
    np.testing.assert_allclose(logits.softmax(1), expected.predict_proba(train.features))


def drawn(output: Path) -> dict[str, list]:
    (path,) = output.glob("few_shot_*.json")
    return json.loads(path.read_text())


def test_it_stands_on_the_images_of_the_other_trainers_or_on_the_published_draw(run: Run) -> None:
    others = run("CoOp", "others", OPTIM__MAX_EPOCH="1")
    same = run("LinearProbeCLIPSameImages", "same")
    published = run("LinearProbeCLIP", "published", DATASET__DRAW="lpclip")
    assert drawn(same) == drawn(others)
    assert drawn(published) != drawn(others)
    for output in (same, published):
        trained_on = json.loads((output / "run.json").read_text())["pictures"]["train_x"]
        assert {name: count for name, (count, _) in trained_on.items()} == dict.fromkeys(CLASSES, 4)
    with pytest.raises(InputError, match=r"DATASET\.DRAW was 'coop' and is 'lpclip'"):
        run("LinearProbeCLIPSameImages", "same", DATASET__DRAW="lpclip")


def test_its_accuracy_is_that_of_clips_own_features(run: Run, data: Path) -> None:
    output = run("LinearProbeCLIP")
    clip = tiny_clip.build()
    folder = data / "caltech-101/101_ObjectCategories"
    split = json.loads((data / "caltech-101/split_zhou_Caltech101.json").read_text())

    def encode(rows: list) -> Samples:
        pictures = []
        for path, *_ in rows:
            image = Image.open(folder / path).convert("RGB")
            # the shorter side to 32, then the middle
            image = image.resize((int(32 * 48 / 40), 32), Image.Resampling.BILINEAR)
            left = round((image.width - 32) / 2)
            pixels = np.asarray(image.crop((left, 0, left + 32, 32))) / 255
            pictures.append(((pixels - MEAN) / DEVIATION).transpose(2, 0, 1))
        with torch.no_grad():
            features = clip.visual(torch.tensor(np.stack(pictures), dtype=torch.float32))
        return Samples(features.double().numpy(), np.array([label for _, label, _ in rows]))

    found = search(*(encode(drawn(output)[part]) for part in ("train", "val")))
    test = encode(split["test"])
    correct = (test.features @ found.weight.T + found.bias).argmax(1) == test.labels
    assert accuracy(output) == pytest.approx(100 * correct.mean())
    assert float(learned(output)["C"]) == pytest.approx(found.C, rel=1e-6)


MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # Dassl's defaults


def test_features_that_are_kept_are_not_encoded_again(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PROMPT_CACHE", str(tmp_path / "cache"))

    def computed(output: Path) -> int:
        manifest = json.loads((output / "manifest.json").read_text())
        return manifest["frozen_features"]["tests"]["computed"]

    first = run("LinearProbeCLIP", "first", DATASET__NUM_SHOTS="2")
    assert computed(first) == (2 + 2 + 3) * 6
    again = run("LinearProbeCLIP", "again", DATASET__NUM_SHOTS="2")
    assert accuracy(again) == accuracy(first)
    assert computed(again) == 0
    more = run("LinearProbeCLIP", "more", DATASET__NUM_SHOTS="5")
    assert computed(more) == 3 * 6  # the training images that the first did not draw


def test_a_given_strength_is_taken(run: Run) -> None:
    output = run("LinearProbeCLIP", TRAINER__LPCLIP__C="0.25")
    assert float(learned(output)["C"]) == 0.25


def test_a_search_on_test_images_is_said(run: Run, monkeypatch, capsys) -> None:
    from datasets.caltech101 import Caltech101

    load = Caltech101.load.__func__
    monkeypatch.setattr(
        Caltech101, "load", classmethod(lambda cls, folder: load(cls, folder)._replace(val=None))
    )
    output = run("LinearProbeCLIP", DATASET__DRAW="lpclip")
    assert "C is searched on test images" in capsys.readouterr().out
    assert len(drawn(output)["val"]) == 3 * 6  # of four a class, those that there are
    run("LinearProbeCLIP", "given", TRAINER__LPCLIP__C="1.0")
    assert "test images, as" not in capsys.readouterr().out


def test_it_serves_no_other_classes(run: Run, trained: Trained) -> None:
    output = trained("LinearProbeCLIP")
    flags = ("--eval-only", "--model-dir", str(output), "--load-epoch", "3")
    with pytest.raises(InputError, match=r"classnames is .*'ant'.* in the file and .*'ferry'"):
        run("LinearProbeCLIP", "new", *flags, DATASET__SUBSAMPLE_CLASSES="new")
    classifier = Classifier.load(output)
    assert classifier.with_classes(CLASSES[:3]).classes == CLASSES[:3]
    with pytest.raises(InputError, match="weights of its own, of no use to other classes"):
        classifier.with_classes(["zebra"])
    with pytest.raises(InputError, match="has no class features to give"):
        classifier.encode_classes()
