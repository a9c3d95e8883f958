"""The evaluator's printed lines and figures against ones computed by hand."""

from __future__ import annotations

import pytest
import torch
from dassl.evaluation import Classification, build_evaluator
from dassl.metrics import compute_accuracy, compute_distance_matrix, cosine_distance
from sklearn.metrics import f1_score

# Class 0: 3 of 4 right, one taken for 1. Class 1: 2 of 2. Class 2: 0 of 1, taken for 3,
# which does not occur and so does not count in the mean.
TRUTH = [0, 0, 0, 0, 1, 1, 2]
PREDICTED = [0, 0, 0, 1, 1, 1, 3]
# F1: class 0 = 2*3/(2*3+1), class 1 = 2*2/(2*2+1), class 2 = 0.
MACRO_F1 = 100 * (6 / 7 + 4 / 5 + 0) / 3


def scores(predicted, classes=4):
    return torch.nn.functional.one_hot(torch.tensor(predicted), classes).float()


def evaluated(cfg):
    evaluator = build_evaluator(cfg, lab2cname={0: "cat", 1: "dog", 2: "emu", 3: "fox"})
    evaluator.process(scores(PREDICTED[:3]), torch.tensor(TRUTH[:3]))
    evaluator.process(scores(PREDICTED[3:]), torch.tensor(TRUTH[3:]))
    return evaluator, evaluator.evaluate()


def test_figures_and_lines(make_cfg, capsys):
    evaluator, results = evaluated(make_cfg())
    assert list(results) == ["accuracy", "error_rate", "macro_f1"]
    assert results["accuracy"] == pytest.approx(100 * 5 / 7, abs=1e-12)
    assert results["error_rate"] == pytest.approx(100 * 2 / 7, abs=1e-12)
    assert results["macro_f1"] == pytest.approx(MACRO_F1, abs=1e-12)
    assert (evaluator._correct, evaluator._total) == (5, 7)
    assert capsys.readouterr().out == (
        "=> result\n"
        "* total: 7\n"
        "* correct: 5\n"
        "* accuracy: 71.4%\n"
        "* error: 28.6%\n"
        "* macro_f1: 55.2%\n"
    )


def test_the_macro_f1_is_scikit_learn_s(make_cfg):
    random = torch.Generator().manual_seed(0)
    truth, predicted = torch.randint(12, (2, 90), generator=random)
    truth[truth == 5] = 4  # one that does not occur, but is predicted
    evaluator = Classification(make_cfg())
    evaluator.process(scores(predicted.tolist(), 12), truth)
    expected = f1_score(truth, predicted, average="macro", labels=truth.unique())
    assert evaluator.evaluate()["macro_f1"] == pytest.approx(100 * expected, abs=1e-12)


def test_thousands_are_separated(make_cfg, capsys):
    evaluator = Classification(make_cfg())
    evaluator.process(scores([0] * 1234), torch.tensor([0] * 1200 + [1] * 34))
    evaluator.evaluate()
    assert "* total: 1,234\n* correct: 1,200\n" in capsys.readouterr().out


def test_per_class_results(make_cfg, capsys):
    _, results = evaluated(make_cfg("TEST.PER_CLASS_RESULT", True))
    assert results["perclass_accuracy"] == pytest.approx((75 + 100 + 0) / 3)
    assert capsys.readouterr().out.endswith(
        "=> per-class result\n"
        "* class: 0 (cat)\ttotal: 4\tcorrect: 3\tacc: 75.0%\n"
        "* class: 1 (dog)\ttotal: 2\tcorrect: 2\tacc: 100.0%\n"
        "* class: 2 (emu)\ttotal: 1\tcorrect: 0\tacc: 0.0%\n"
        "* average: 58.3%\n"
    )
    with pytest.raises(ValueError, match="lab2cname"):
        build_evaluator(make_cfg("TEST.PER_CLASS_RESULT", True))


def test_confusion_matrix(make_cfg, tmp_path):
    evaluated(make_cfg("TEST.COMPUTE_CMAT", True))
    matrix = torch.load(tmp_path / "output" / "cmat.pt", weights_only=True)
    expected = [[0.75, 0.25, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]]
    torch.testing.assert_close(matrix, torch.tensor(expected, dtype=torch.float64))


def test_the_confusion_matrix_has_all_classes_whichever_are_tested(make_cfg, tmp_path):
    evaluator = Classification(make_cfg("TEST.COMPUTE_CMAT", True))
    mo = torch.zeros(3, 5)
    mo[0, 1] = mo[1, 3] = mo[2, 3] = 1
    evaluator.process(mo, torch.tensor([1, 1, 3]))
    evaluator.evaluate()
    matrix = torch.load(tmp_path / "output" / "cmat.pt", weights_only=True)
    expected = torch.zeros(5, 5, dtype=torch.float64)
    expected[1, 1] = expected[1, 3] = 0.5
    expected[3, 3] = 1
    torch.testing.assert_close(matrix, expected)


def test_reset_forgets(make_cfg):
    evaluator, _ = evaluated(make_cfg())
    evaluator.reset()
    with pytest.raises(ValueError, match="nothing to evaluate"):
        evaluator.evaluate()
    evaluator.process(scores([2]), torch.tensor([2]))
    assert evaluator.evaluate()["accuracy"] == 100.0


def test_top_k_accuracy():
    output = torch.tensor([[0.1, 0.5, 0.4], [0.7, 0.2, 0.1], [0.2, 0.3, 0.5], [0.3, 0.5, 0.2]])
    target = torch.tensor([1, 1, 0, 2])
    top1, top2 = compute_accuracy(output, target, topk=(1, 2))
    assert top1.shape == (1,)
    assert top1.item() == 25.0
    assert top2.item() == 50.0
    assert compute_accuracy((output, None), target)[0].item() == 25.0


def test_distances():
    one = torch.tensor([[1.0, 0.0], [3.0, 4.0]])
    other = torch.tensor([[0.0, 2.0], [3.0, 4.0], [-1.0, 0.0]])
    expected = torch.tensor([[5.0, 20.0, 4.0], [13.0, 0.0, 32.0]])
    torch.testing.assert_close(compute_distance_matrix(one, other), expected)
    cosines = torch.tensor([[1.0, 0.4, 2.0], [0.2, 0.0, 1.6]])
    torch.testing.assert_close(cosine_distance(one, other), cosines)
    torch.testing.assert_close(compute_distance_matrix(one, other, "cosine"), cosines)
    with pytest.raises(ValueError, match="manhattan"):
        compute_distance_matrix(one, other, "manhattan")
    with pytest.raises(ValueError, match=r"\(2, 2\) and \(2, 3\)"):
        compute_distance_matrix(one, torch.ones(2, 3))
