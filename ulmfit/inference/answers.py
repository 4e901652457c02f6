"""Logits of one direction or two -> probabilities, labels and confidence. Pure functions of arrays.

The directions' probabilities are averaged (Howard & Ruder 2018, 4.1); the temperature then acts on
the logarithm of the average, which for one direction is the same as dividing its logits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ulmfit.models.label_set import LabelSet

THRESHOLD = 0.5  # from this probability on, a document has a label among many


@dataclass(frozen=True, eq=False)
class Prediction:
    """The answer for one text."""

    label: str | tuple[str, ...] | float
    """A name; the names that hold, if there may be many; or a value."""
    confidence: float
    """Probability of the label; among many labels, of the least certain decision; NaN for a value."""
    probabilities: np.ndarray
    """One for each label in their order; for a number the value."""


def probabilities(logits: np.ndarray, labels: LabelSet) -> np.ndarray:
    """Turn `logits` (directions, n, outputs) into (n, outputs): probabilities, or values of numbers."""
    if labels.kind == "number":
        return np.asarray(logits, np.float64).mean(0)
    found = np.exp(_normalised(log_probabilities(logits, labels) / labels.temperature))
    return found[..., 1] if labels.kind == "multi" else found


def log_probabilities(logits: np.ndarray, labels: LabelSet) -> np.ndarray:
    """Average the directions of `logits` (directions, n, outputs), at temperature 1.

    Gives (n, outputs), or (n, outputs, 2) where each of many labels stands against its absence.
    """
    logits = np.asarray(logits, np.float64)
    if labels.kind == "multi":
        logits = np.stack([np.zeros_like(logits), logits], axis=-1)
    return _normalised(np.logaddexp.reduce(_normalised(logits), axis=0))


def decide(found: np.ndarray, labels: LabelSet) -> np.ndarray:
    """Choose the label of each row: names, tuples of names, or the values themselves."""
    if labels.kind == "number":
        return found[:, 0]
    names = np.array(labels.names)
    if labels.kind == "category":
        return names[found.argmax(1)] if len(found) else names[:0]
    chosen = np.empty(len(found), object)
    for row, holds in enumerate(found >= THRESHOLD):
        chosen[row] = tuple(names[holds].tolist())
    return chosen


def confidence(found: np.ndarray, labels: LabelSet) -> np.ndarray:
    """Say how probable each row's answer is; NaN for values."""
    if labels.kind == "number":
        return np.full(len(found), np.nan)
    if labels.kind == "category":
        return found.max(1)
    return np.maximum(found, 1 - found).min(1)


def predictions(found: np.ndarray, labels: LabelSet) -> list[Prediction]:
    """Put the answers of all rows into words."""
    rows = zip(decide(found, labels).tolist(), confidence(found, labels).tolist(), found)
    return [Prediction(*row) for row in rows]


def _normalised(logits: np.ndarray) -> np.ndarray:
    """Make the exponentials of the last axis sum to one."""
    return logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
