"""Whether confidence is worth its name: temperature scaling (Guo et al. 2017) and the reliability curve.

In: logits of validation documents. Out: one temperature, which moves no answer, only its confidence.
Of averaged directions, the logarithms of the mean probabilities are the logits.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ulmfit.evaluation.answers import Answers
from ulmfit.evaluation.intervals import Interval, wilson
from ulmfit.evaluation.metrics import N_BINS, bin_numbers, ece, nll
from ulmfit.training.temperature import best_temperature, softmax


@dataclass(frozen=True)
class Calibration:
    """A temperature, and what it did to n documents."""

    temperature: float
    n_documents: int
    nll_before: float
    nll_after: float
    ece_before: float
    ece_after: float

    def to_json(self) -> dict[str, Any]:
        """Return the fields."""
        return asdict(self)


@dataclass(frozen=True)
class Bin:
    """Documents of about the same confidence."""

    n_documents: int
    confidence: float
    """Their mean confidence."""
    accuracy: Interval


def two_labels(logits: np.ndarray) -> np.ndarray:
    """Turn the sigmoid logits of multi-label documents into softmax logits of yes-or-no answers, one per pair."""
    flat = np.asarray(logits, dtype=float).reshape(-1)
    return np.stack([np.zeros_like(flat), flat], axis=-1)  # (documents * labels, 2)


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> Calibration:
    """Choose the likeliest temperature, as training does, and say what it does to these documents."""
    return measure_temperature(logits, labels, temperature=best_temperature(logits, labels))


def measure_temperature(
    logits: np.ndarray, labels: np.ndarray, *, temperature: float
) -> Calibration:
    """Say what a temperature does to documents, such as those of the test split."""
    names = tuple(str(n) for n in range(logits.shape[1]))
    once = np.ones(len(labels))
    before, after = (
        Answers(labels, softmax(logits, temperature=t), names) for t in (1.0, temperature)
    )
    figures = [float(metric(answers, once)) for metric in (nll, ece) for answers in (before, after)]
    return Calibration(float(temperature), len(labels), *figures)


def reliability(answers: Answers, *, n_bins: int = N_BINS) -> tuple[Bin, ...]:
    """Give the reliability curve, the accuracy at each confidence; empty bins are left out."""
    confidence = answers.scores.max(axis=1)
    bins = bin_numbers(confidence, n_bins)
    members = [bins == number for number in np.unique(bins)]
    return tuple(
        Bin(
            int(mine.sum()),
            float(confidence[mine].mean()),
            wilson(int(answers.is_right[mine].sum()), int(mine.sum())),
        )
        for mine in members
    )
