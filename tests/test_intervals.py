"""Intervals against scipy, closed formulas and loops; the tests exact, the draws the same for the same seed."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import f1_score
from test_evaluation_metrics import random_answers

from ulmfit.errors import UserError
from ulmfit.evaluation import intervals
from ulmfit.evaluation.answers import Answers
from ulmfit.evaluation.intervals import (
    Interval,
    bootstrap,
    difference,
    label_intervals,
    mcnemar,
    metric_intervals,
    over_seeds,
    unweighted,
    wilson,
)
from ulmfit.evaluation.metrics import METRICS


def metric_interval(name: str, seeds: list[Answers], **options: int) -> Interval:
    return metric_intervals(seeds, names=[name], **options)[name]


@given(st.integers(1, 400), st.data())
def test_wilson_is_scipys(n: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, n))
    found, expected = wilson(right, n), binomtest(right, n).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert found.low <= found.value <= found.high


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_exact_binomial_test(only_first: int, only_second: int) -> None:
    n = only_first + only_second + 3
    labels, right = np.zeros(n, int), np.array([[1.0, 0.0]])
    first, second = np.tile(right, (n, 1)), np.tile(right, (n, 1))
    second[:only_first] = second[:only_first, ::-1]
    first[only_first : only_first + only_second] = [0.0, 1.0]
    found = mcnemar(*(Answers(labels, scores, ("ham", "spam")) for scores in (first, second)))
    assert (found.only_first, found.only_second) == (only_first, only_second)
    pairs = only_first + only_second
    expected = binomtest(only_first, pairs).pvalue if pairs else 1.0
    assert found.p_value == pytest.approx(expected, rel=1e-9)


def test_mcnemar_of_many_documents_neither_overflows_nor_lingers() -> None:
    n = 20_000
    first = np.tile([[1.0, 0.0]], (n, 1))
    second = first.copy()
    second[: n // 2] = [0.0, 1.0]
    found = mcnemar(*(Answers(np.zeros(n, int), s, ("ham", "spam")) for s in (first, second)))
    assert found.p_value == 0.0
    assert found.only_first == n // 2


def test_bootstrap_of_a_mean_is_that_of_the_normal_approximation() -> None:
    """Accuracy of 2,000 documents: 1.96 standard errors either way, which a bootstrap must come near."""
    answers = random_answers("category", n=2000)
    found = metric_interval("accuracy", [answers], n_resamples=4000)
    share = float(answers.is_right.mean())
    error = math.sqrt(share * (1 - share) / 2000)
    assert found.value == pytest.approx(share)
    assert found.low == pytest.approx(share - 1.96 * error, abs=0.1 * error)
    assert found.high == pytest.approx(share + 1.96 * error, abs=0.1 * error)


def test_bootstrap_is_the_loop_over_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any metric, in blocks of any size: the percentiles of scikit-learn's figure on each resample."""
    monkeypatch.setattr(intervals, "BLOCK", 50 * 7)
    answers = random_answers("category", n=50)
    found = metric_interval("macro_f1", [answers], n_resamples=100, seed=3)
    chance, values = np.random.default_rng(3), []
    for start in range(0, 100, 7):
        for drawn in chance.integers(50, size=(min(7, 100 - start), 50)):
            truth, said = answers.labels[drawn], answers.predicted[drawn]
            values.append(f1_score(truth, said, average="macro"))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])))


def test_an_unweighted_metric_gives_the_same_interval() -> None:
    answers = random_answers("number", n=40)
    plain = unweighted(lambda labels, scores: np.abs(labels - scores).mean())
    (found,) = bootstrap(lambda weights: plain(answers, weights), 40, n_resamples=50)
    expected = metric_interval("mae", [answers], n_resamples=50)
    assert (found.value, found.low, found.high) == pytest.approx(
        (expected.value, expected.low, expected.high)
    )


def test_a_new_metric_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain function, registered: it has a value and an interval like the others."""
    monkeypatch.setitem(METRICS["number"], "worst", unweighted(lambda a, b: np.abs(a - b).max()))
    answers = random_answers("number", n=40)
    worst = np.abs(answers.labels - answers.scores).max()
    found = metric_intervals([answers], n_resamples=20)["worst"]
    assert found.value == pytest.approx(worst) and found.high <= worst


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, found in METRICS.items() for name in found]
)
def test_every_metric_stands_inside_its_interval(kind: str, name: str) -> None:
    answers = random_answers(kind, n=150, n_labels=3)
    found = metric_interval(name, [answers], n_resamples=200)
    assert found.low <= found.value <= found.high
    assert found.low < found.high
    assert found == metric_interval(name, [answers], n_resamples=200)
    assert found != metric_interval(name, [answers], n_resamples=200, seed=1)


def test_a_small_calibration_error_stands_inside_its_interval() -> None:
    """Of honest confidences, nearly every resample has a larger error than the documents themselves."""
    chance = np.random.default_rng(0)
    yes = np.repeat(np.linspace(0.55, 0.95, 5), 200)
    labels = np.concatenate([np.arange(200) < 200 * share for share in np.linspace(0.55, 0.95, 5)])
    answers = Answers(
        labels[order := chance.permutation(1000)].astype(int),
        np.stack([1 - yes, yes], 1)[order],
        ("no", "yes"),
    )
    plain = bootstrap(lambda weights: METRICS["category"]["ece"](answers, weights), 1000)[0]
    assert plain.low > plain.value + 0.005
    found = metric_interval("ece", [answers])
    assert found.low <= found.value <= found.high


def test_all_metrics_at_once_are_the_same_intervals() -> None:
    answers = random_answers("category", n=80)
    together = metric_intervals([answers], n_resamples=60)
    assert list(together) == list(METRICS["category"])
    for name, found in together.items():
        assert found == metric_interval(name, [answers], n_resamples=60)


def test_seeds_are_averaged_on_the_same_documents() -> None:
    """The mean of two seeds that err on different documents varies less than either."""
    labels = np.zeros(400, int)
    right, wrong = [1.0, 0.0], [0.0, 1.0]
    rows = [[wrong if n % 4 == place else right for n in range(400)] for place in (0, 1)]
    seeds = [Answers(labels, np.array(row), ("ham", "spam")) for row in rows]
    both, one = metric_interval("accuracy", seeds), metric_interval("accuracy", seeds[:1])
    assert both.value == one.value == 0.75
    assert both.high - both.low < 0.9 * (one.high - one.low)


def test_a_paired_difference_is_narrower_than_the_two_intervals() -> None:
    first = random_answers("category", n=500)
    scores = first.scores.copy()
    scores[:25] = scores[:25, ::-1]  # another model that differs on 25 documents
    second = Answers(first.labels, scores, first.names)
    found = difference(METRICS["category"]["accuracy"], [first], second)
    assert found.value == pytest.approx(first.is_right.mean() - second.is_right.mean())
    alone = metric_interval("accuracy", [first])
    assert found.high - found.low < 0.6 * (alone.high - alone.low)
    zero = difference(METRICS["category"]["accuracy"], [first], first)
    assert (zero.value, zero.low, zero.high) == (0, 0, 0)


def test_intervals_of_the_labels() -> None:
    answers = random_answers("category", n=300)
    found = label_intervals([answers], n_resamples=200)
    for label, (precision, recall, f1) in enumerate(found):
        is_said, is_true = answers.predicted == label, answers.labels == label
        assert precision.value == pytest.approx(is_true[is_said].mean())
        assert recall.value == pytest.approx(is_said[is_true].mean())
        assert precision.low < precision.value < precision.high
        assert f1.low <= f1.value <= f1.high
    assert len(found) == len(answers.names)


def test_a_figure_that_is_never_defined_has_no_interval() -> None:
    answers = Answers(np.zeros(5, int), np.full((5, 2), 0.5), ("ham", "spam"))
    found = metric_interval("auc", [answers], n_resamples=20)
    assert math.isnan(found.value) and math.isnan(found.low) and math.isnan(found.high)


def test_a_perfect_answer_is_not_certain() -> None:
    """All of ten right: the bootstrap sees no error at all, Wilson knows that ten are few."""
    assert (
        metric_interval("accuracy", [Answers(np.zeros(10, int), np.ones((10, 1)), ("ham",))]).low
        == 1
    )
    assert wilson(10, 10).low == pytest.approx(0.7225, abs=1e-4)
    assert wilson(10, 10).high == 1


def test_spread_over_seeds() -> None:
    found = over_seeds([0.1, 0.4, 0.2])
    assert (found.mean, found.sd) == pytest.approx((0.7 / 3, statistics.stdev([0.1, 0.4, 0.2])))
    assert math.isnan(over_seeds([0.5]).sd)


def test_answers_to_other_documents_are_not_compared() -> None:
    first, second = random_answers("category", seed=0), random_answers("category", seed=1)
    with pytest.raises(UserError, match="same documents"):
        mcnemar(first, second)
    with pytest.raises(UserError, match="same documents"):
        difference(METRICS["category"]["accuracy"], [first], second)
    with pytest.raises(UserError, match="7 right of 5"):
        wilson(7, 5)
