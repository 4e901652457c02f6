"""Figures of answers against scikit-learn, scipy and loops over documents; weights against repeated documents."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr
from sklearn import metrics as reference

from ulmfit.errors import UserError
from ulmfit.evaluation.answers import Answers
from ulmfit.evaluation.metrics import METRICS, confusion, confusion_table, ece, precision_recall_f1
from ulmfit.files import without_nan

NAMES = ("ham", "spam", "eggs", "tea")


def random_answers(kind: str, *, n: int = 200, n_labels: int = 4, seed: int = 0) -> Answers:
    """Answers that are better than chance, with ties among the scores."""
    chance = np.random.default_rng(seed)
    if kind == "number":
        labels = chance.normal(1000, 3, n)
        return Answers(labels, labels + chance.normal(0, 2, n), (), kind)
    if kind == "multi":
        labels = (chance.random((n, n_labels)) < 0.3).astype(np.int8)
        scores = np.round(0.6 * chance.random((n, n_labels)) + 0.4 * labels, 2)
        return Answers(labels, scores, NAMES[:n_labels], kind)
    labels = chance.integers(n_labels, size=n).astype(np.int32)
    logits = chance.normal(size=(n, n_labels)) + 1.5 * np.eye(n_labels)[labels]
    scores = np.round(np.exp(logits) / np.exp(logits).sum(1, keepdims=True), 2) + 1e-3
    return Answers(labels, scores / scores.sum(1, keepdims=True), NAMES[:n_labels], kind)


def expected_calibration_error(answers: Answers) -> float:
    """Guo et al. 2017, equations 2 and 3, document by document."""
    total = 0.0
    for m in range(15):
        inside = [
            (max(row), row.argmax() == label)
            for row, label in zip(answers.scores, answers.labels)
            if m / 15 < max(row) <= (m + 1) / 15
        ]
        if inside:
            confidence, right = (math.fsum(values) / len(inside) for values in zip(*inside))
            total += len(inside) / len(answers) * abs(right - confidence)
    return total


def by_reference(answers: Answers) -> dict[str, float]:
    """The registered metrics, computed by others."""
    truth, scores = answers.labels, answers.scores
    if answers.kind == "number":
        return {
            "mae": reference.mean_absolute_error(truth, scores),
            "rmse": reference.root_mean_squared_error(truth, scores),
            "r2": reference.r2_score(truth, scores),
            "pearson": pearsonr(truth, scores).statistic,
        }
    said = scores.argmax(1) if answers.kind == "category" else (scores >= 0.5).astype(int)
    right = reference.accuracy_score(truth, said)
    macro = reference.f1_score(truth, said, average="macro")
    if answers.kind == "multi":
        micro = reference.f1_score(truth, said, average="micro")
        area = reference.roc_auc_score(truth, scores, average="macro")
        return {"micro_f1": micro, "macro_f1": macro, "subset_accuracy": right, "auc": area}
    two = scores.shape[1] == 2
    return {
        "accuracy": right,
        "error": 1 - right,
        "macro_f1": macro,
        "auc": reference.roc_auc_score(truth, scores[:, 1] if two else scores, multi_class="ovr"),
        "nll": reference.log_loss(truth, scores),
        "ece": expected_calibration_error(answers),
    }


def figures(answers: Answers) -> dict[str, float]:
    once = np.ones(len(answers))
    return {name: float(metric(answers, once)) for name, metric in METRICS[answers.kind].items()}


CASES = [("category", 2), ("category", 4), ("multi", 3), ("number", 1)]


@pytest.mark.parametrize(("kind", "n_labels"), CASES)
@pytest.mark.parametrize("seed", range(3))
def test_figures_are_those_of_others(kind: str, n_labels: int, seed: int) -> None:
    answers = random_answers(kind, n_labels=n_labels, seed=seed)
    expected = by_reference(answers)
    assert set(expected) == set(METRICS[kind])
    assert figures(answers) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, found in METRICS.items() for name in found]
)
@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_a_weight_is_a_repetition(kind: str, name: str, data: st.DataObject) -> None:
    """For every registered metric: a document of weight 3 counts as three documents."""
    answers = random_answers(kind, n=12, n_labels=3, seed=data.draw(st.integers(0, 99)))
    weights = np.array(data.draw(st.lists(st.integers(0, 3), min_size=12, max_size=12)), float)
    if not weights.any():
        weights[0] = 1
    drawn = np.repeat(np.arange(12), weights.astype(int))
    repeated = Answers(answers.labels[drawn], answers.scores[drawn], answers.names, kind)
    metric = METRICS[kind][name]
    ours = metric(answers, np.stack([weights, np.ones(12)]))
    expected = [float(metric(repeated, np.ones(len(drawn)))), float(metric(answers, np.ones(12)))]
    assert ours == pytest.approx(expected, rel=1e-6, abs=1e-9, nan_ok=True)


def test_table_of_the_labels() -> None:
    answers = random_answers("category")
    expected = reference.precision_recall_fscore_support(answers.labels, answers.predicted)
    found = precision_recall_f1(answers, np.ones(len(answers)))
    np.testing.assert_allclose(found, expected[:3])
    table = reference.confusion_matrix(answers.labels, answers.predicted)
    assert np.array(confusion_table(answers)).tolist() == table.tolist()


def test_a_small_case_by_hand() -> None:
    """Four documents: ham as ham, ham as spam, spam as spam, spam as spam."""
    scores = np.array([[0.9, 0.1], [0.3, 0.7], [0.4, 0.6], [0.2, 0.8]])
    answers = Answers(np.array([0, 0, 1, 1]), scores, ("ham", "spam"))
    assert confusion_table(answers) == ((1, 1), (0, 2))
    precision, recall, _ = precision_recall_f1(answers, np.ones(4)).tolist()
    assert precision == pytest.approx([1, 2 / 3]) and recall == [0.5, 1]
    found = figures(answers)
    assert found["macro_f1"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert found["auc"] == pytest.approx(3 / 4)  # of 4 pairs only .7 against .6 is wrong


def test_confidence_one_half_of_two_labels_lies_in_the_bin_below() -> None:
    """Bins are closed above: 1 stays inside the last one, and 0.6 in the ninth of fifteen."""
    scores = np.array([[1.0, 0.0], [0.6, 0.4], [0.4, 0.6]])
    answers = Answers(np.array([0, 0, 0]), scores, ("ham", "spam"))
    assert float(ece(answers, np.ones(3))) == pytest.approx((0 + abs(1 - 2 * 0.6)) / 3)


def test_a_label_that_never_occurs_is_not_a_failure() -> None:
    """F1 averages over labels seen in truth or answers, as scikit-learn does; AUC over those in truth."""
    answers = random_answers("category", n_labels=3)
    wider = Answers(answers.labels, np.c_[answers.scores, np.zeros(len(answers))], NAMES)
    for name in ("macro_f1", "auc"):
        assert figures(wider)[name] == pytest.approx(figures(answers)[name])
    unseen = precision_recall_f1(wider, np.ones(len(wider)))[:, 3]
    assert np.isnan(unseen).all()
    assert confusion(wider, np.ones(len(wider))).sum() == len(wider)


def test_what_is_not_defined_is_null_in_json() -> None:
    answers = Answers(np.zeros(3, int), np.full((3, 2), 0.5), ("ham", "spam"))
    recall = precision_recall_f1(answers, np.ones(3))[1].tolist()
    content = without_nan({"metrics": figures(answers), "recall": recall})
    found = json.loads(json.dumps(content, allow_nan=False))
    assert (found["metrics"]["auc"], found["metrics"]["accuracy"]) == (None, 1.0)
    assert found["recall"] == [1.0, None]


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([0, -1, 2], np.ones((3, 2)), "2 of 3 documents have no known label"),
        ([0, 1], np.ones((3, 2)), "2 labels for 3 predictions"),
        ([], np.ones((0, 2)), "0 labels"),
        ([0, 1], np.ones((2, 3)), "3"),
        ([0, 1], np.full((2, 2), np.nan), "finite"),
    ],
)
def test_answers_that_cannot_be(labels: list[int], scores: np.ndarray, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Answers(np.array(labels, int), scores, ("ham", "spam"))


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UserError, match="category, multi, number"):
        Answers(np.zeros(1, int), np.ones((1, 1)), ("ham",), "categories")
