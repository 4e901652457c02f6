"""Temperatures against a grid and against the temperature that the data were made with."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax
from scipy.stats import gamma
from sklearn.calibration import calibration_curve
from test_evaluation_metrics import expected_calibration_error

from ulmfit.errors import UserError
from ulmfit.evaluation.answers import Answers
from ulmfit.evaluation.calibration import reliability
from ulmfit.training.temperature import (
    USUAL,
    WEIGHT,
    answers_temperature,
    best_temperature,
    softmax,
)


def overconfident(n: int = 4000, *, temperature: float = 2.5) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are `temperature` times too large for the labels drawn from them."""
    chance = np.random.default_rng(0)
    honest = chance.normal(0, 1.5, (n, 3))
    labels = np.array([chance.choice(3, p=row) for row in np.exp(log_softmax(honest, axis=1))])
    return honest * temperature, labels


def loss(logits: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    return float(-log_softmax(logits / temperature, axis=1)[np.arange(len(labels)), labels].mean())


def test_the_temperature_of_the_data_is_found() -> None:
    logits, labels = overconfident()
    found = best_temperature(logits, labels)
    assert found == pytest.approx(2.5, rel=0.08)
    before, after = (
        expected_calibration_error(Answers(labels, softmax(logits, temperature=t), ("a", "b", "c")))
        for t in (1.0, found)
    )
    assert after < 0.02 < before


@pytest.mark.parametrize("n", [1, 3, 10, 300])
@pytest.mark.parametrize("seed", range(5))
def test_no_temperature_of_a_fine_grid_is_likelier(n: int, seed: int) -> None:
    """The likelihood of the documents times the gamma density of scipy that stands for what was thought before."""
    logits, labels = overconfident(300)
    some = np.random.default_rng(seed).permutation(300)[:n]
    found = best_temperature(logits[some], labels[some])
    before = gamma(a=WEIGHT + 1, scale=1 / (WEIGHT * USUAL))

    def surprise(temperature: float) -> float:
        return n * loss(logits[some], labels[some], temperature) - before.logpdf(1 / temperature)

    grid = [surprise(temperature) for temperature in np.geomspace(0.02, 50, 3000)]
    assert surprise(found) <= min(grid) + 1e-9


def test_many_documents_decide_by_themselves() -> None:
    logits, labels = overconfident()
    alone = min(np.linspace(2, 3, 1001), key=lambda temperature: loss(logits, labels, temperature))
    assert best_temperature(logits, labels) == pytest.approx(alone, rel=0.005)


def test_few_documents_that_are_all_right_do_not_make_it_certain() -> None:
    """Their likelihood alone would ask for temperature 0, and be wrong about all others."""
    logits, labels = overconfident()
    right = np.flatnonzero(logits.argmax(1) == labels)[:5]
    found = best_temperature(logits[right], labels[right])
    assert loss(logits, labels, found) < loss(logits, labels, 1.0)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_answers_never_change(temperature: float) -> None:
    logits, _ = overconfident(200)
    probabilities = softmax(logits, temperature=temperature)
    assert probabilities.sum(1) == pytest.approx(np.ones(200))
    assert (probabilities.argmax(1) == logits.argmax(1)).all()


def test_separable_noisy_and_flat_logits_end_at_a_temperature() -> None:
    logits = np.array([[3.0, 0.0], [0.0, 3.0]] * 10)
    right, wrong = np.array([0, 1] * 10), np.array([1, 0] * 10)
    cold, hot = (best_temperature(logits, labels) for labels in (right, wrong))
    assert 0 < cold < USUAL < hot < np.inf
    assert best_temperature(np.zeros((20, 2)), right) == pytest.approx(USUAL)
    equal = np.full((20, 6), -np.log(6.0) + 1e-16 * np.arange(6))
    assert best_temperature(equal, np.zeros(20, int)) == pytest.approx(USUAL)
    assert np.isfinite(best_temperature(logits * 1e4, wrong))
    assert np.isfinite(softmax(np.array([[1e4, -1e4]]), temperature=0.05)).all()


def test_several_labels_are_answers_of_yes_or_no() -> None:
    """One temperature for all of them, as if each had been asked about by itself."""
    logits, labels = overconfident(300)
    truth = np.eye(3, dtype=int)[labels]
    both = np.stack([-np.logaddexp(0, logits), -np.logaddexp(0, -logits)], axis=-1)
    each = np.stack([np.zeros(logits.size), logits.reshape(-1)], axis=1)
    assert answers_temperature(both, truth) == pytest.approx(
        best_temperature(each, truth.reshape(-1))
    )


def test_averaged_probabilities_have_logits_too() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1]])
    assert softmax(np.log(probabilities)) == pytest.approx(probabilities)


def test_reliability_curve_is_scikit_learns() -> None:
    """Of yes-or-no answers whose confidence is the probability of yes."""
    chance = np.random.default_rng(1)
    yes = 0.5 + chance.random(500) / 2
    labels = (chance.random(500) < yes).astype(int)
    bins = reliability(Answers(labels, np.stack([1 - yes, yes], 1), ("no", "yes")), n_bins=10)
    accuracy, confidence = calibration_curve(labels, yes, n_bins=10)
    assert [found.accuracy.value for found in bins] == pytest.approx(accuracy)
    assert [found.confidence for found in bins] == pytest.approx(confidence)
    assert sum(found.n_documents for found in bins) == 500


def test_nothing_to_fit_on() -> None:
    with pytest.raises(UserError, match="no validation documents"):
        best_temperature(np.zeros((0, 2)), np.zeros(0, int))
