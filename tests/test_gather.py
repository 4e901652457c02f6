"""Rows of evidence: which interval stands beside which figure, and which errors are shown."""

from __future__ import annotations

import numpy as np
import pytest
from made_evidence import made_answers, made_evidence

from ulmfit.errors import UserError
from ulmfit.evaluation.answers import Answers
from ulmfit.evaluation.baselines import BaselineAnswers
from ulmfit.evaluation.evidence import Evidence
from ulmfit.evaluation.gather import (
    EXCERPT,
    baseline_row,
    calibration_rows,
    disputed_label,
    error_row,
    excerpt,
    label_rows,
    score_rows,
    surest_errors,
)
from ulmfit.evaluation.intervals import mcnemar, wilson
from ulmfit.evaluation.metrics import METRICS
from ulmfit.training.temperature import best_temperature, softmax

NAMES = ("ham", "spam", "eggs")


def made_seeds(n_seeds: int) -> list[Answers]:
    labels, logits = made_answers(150, n_labels=3, n_seeds=n_seeds)
    return [Answers(labels, softmax(row), NAMES) for row in logits]


def test_one_seed_has_wilsons_accuracy_and_no_spread() -> None:
    (answers,) = made_seeds(1)
    rows = {row.name: row for row in score_rows([answers])}
    assert set(rows) == set(METRICS["category"])
    assert rows["accuracy"].figure == wilson(int(answers.is_right.sum()), 150)
    assert rows["error"].figure.low == pytest.approx(1 - rows["accuracy"].figure.high)
    assert rows["macro_f1"].figure.method == "bootstrap"
    assert all(row.spread is None for row in rows.values())


def test_several_seeds_have_a_spread() -> None:
    seeds = made_seeds(3)
    row = next(row for row in score_rows(seeds) if row.name == "accuracy")
    each = [answers.is_right.mean() for answers in seeds]
    assert row.figure.value == pytest.approx(np.mean(each))
    assert row.spread.sd == pytest.approx(np.std(each, ddof=1))
    assert row.figure.method == "bootstrap"


def test_rows_of_the_labels() -> None:
    seeds = made_seeds(2)
    rows = label_rows(seeds)
    assert [row.name for row in rows] == list(NAMES)
    assert sum(row.support for row in rows) == 150
    recall = [(a.predicted == 1)[a.labels == 1].mean() for a in seeds]
    assert rows[1].recall.value == pytest.approx(np.mean(recall))


def test_a_baseline_beside_several_seeds() -> None:
    seeds, (other,) = made_seeds(2), made_seeds(1)
    weaker = Answers(other.labels, np.roll(other.scores, 1, axis=0), NAMES)
    row = baseline_row(seeds, BaselineAnswers("weak", weaker, 70, 1.5, 0.5))
    gap = np.mean([a.is_right.mean() for a in seeds]) - weaker.is_right.mean()
    assert row.difference.value == pytest.approx(gap)
    assert row.difference.low > 0
    assert row.test.p_value == max(mcnemar(a, weaker).p_value for a in seeds)
    assert (row.n_train, row.fit_seconds, row.predict_seconds) == (70, 1.5, 0.5)


def test_calibration_of_test_answers() -> None:
    labels, (logits,) = made_answers(400, n_labels=3, n_seeds=1)
    fitted = best_temperature(3 * logits[:200], labels[:200])
    before, after = (
        Answers(labels[200:], softmax(3 * logits[200:], temperature=t), NAMES)
        for t in (1.0, fitted)
    )
    rows = calibration_rows(before, after, temperature=fitted, n_valid=200)
    assert rows.n_valid == 200
    assert rows.ece_before.low > rows.ece_after.value
    assert sum(found.n_documents for found in rows.after) == 200


def test_the_surest_errors_come_first() -> None:
    scores = np.array([[0.6, 0.4], [0.1, 0.9], [0.2, 0.8], [0.3, 0.7]])
    answers = Answers(np.array([1, 0, 1, 0]), scores, ("ham", "spam"))
    texts = ["zero", "one", "two", "three"]
    rows = [error_row(answers, place, texts[place]) for place in surest_errors(answers, n=2)]
    assert [(r.excerpt, r.true, r.predicted, r.confidence) for r in rows] == [
        ("one", "ham", "spam", 0.9),
        ("three", "ham", "spam", 0.7),
    ]


def test_errors_of_many_labels_and_of_numbers() -> None:
    """Of many labels the surest wrong decision counts, of numbers the distance."""
    labels = np.array([[1, 0], [0, 1], [1, 1]])
    scores = np.array([[0.9, 0.6], [0.1, 0.9], [0.05, 0.8]])
    many = Answers(labels, scores, ("loud", "long"), "multi")
    assert surest_errors(many) == [2, 0]
    assert [disputed_label(many, place) for place in (2, 0)] == ["loud", "long"]
    row = error_row(many, 2, "a text")
    assert (row.true, row.predicted, row.confidence) == ("loud, long", "long", 0.95)
    numbers = Answers(np.array([1.0, 2.0, 3.0]), np.array([1.0, 0.5, 7.0]), (), "number")
    assert surest_errors(numbers) == [2, 1]
    row = error_row(numbers, 2, "a text")
    assert (row.true, row.predicted) == ("3", "7") and np.isnan(row.confidence)


def test_excerpts_end_at_a_word() -> None:
    assert excerpt("short") == "short"
    words = excerpt("word " * 200)
    assert words.endswith("word …") and len(words) <= EXCERPT + 2
    assert excerpt("x" * 1000) == "x" * EXCERPT + " …"


@pytest.mark.parametrize(
    ("change", "message"), [({"protocol": "honest"}, "clean"), ({"seeds": ()}, "one seed")]
)
def test_evidence_says_how_it_was_obtained(change: dict, message: str) -> None:
    given = {"title": "t", "protocol": "clean", "seeds": (0,), "n_documents": 9, **change}
    with pytest.raises(UserError, match=message):
        Evidence(**given)


def test_everything_made_is_filled_in() -> None:
    """The evidence that the report's tests print leaves no field empty."""
    evidence = made_evidence(n=60)
    assert all(getattr(evidence, name) for name in Evidence.__dataclass_fields__)
