"""One number that makes a classifier's confidence honest: temperature scaling (Guo et al. 2017).

In: logits of validation documents, with their labels. Out: what to divide the logits by.
"""

from __future__ import annotations

import numpy as np

from ulmfit.errors import UserError

# What is thought before any document is seen: fine-tuned networks are too sure, so 1 / temperature has a gamma
# distribution with its mode at 1 / USUAL. A handful of documents that are all answered rightly, which alone would ask
# for temperature 0, move it little; a hundred decide by themselves (docs/log.md).
USUAL, WEIGHT = 1.5, 4.0


def softmax(logits: np.ndarray, *, temperature: float = 1.0) -> np.ndarray:
    """Turn logits into probabilities, softened by a temperature above 1, sharpened by one below."""
    scaled = np.asarray(logits, dtype=float) / temperature
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def answers_temperature(log_probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Choose that of answers whose exponentials sum to one in the last axis: one label a document, or many, which hold or not."""
    flat = log_probabilities.reshape(-1, log_probabilities.shape[-1])
    return best_temperature(flat, labels.reshape(-1).astype(np.int64))


def best_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Choose the likeliest temperature: the smallest negative log-likelihood, less what was thought before."""
    from scipy.optimize import brentq

    logits, labels = np.asarray(logits, dtype=float), np.asarray(labels)
    if not len(labels):
        raise UserError("no validation documents: set some of the training documents apart")
    truth = logits[np.arange(len(labels)), labels]

    def slope(inverse: float) -> float:
        """Differentiate in 1 / temperature, in which all of it is convex: from below 0 it rises above it."""
        expected = (softmax(logits, temperature=1 / inverse) * logits).sum(axis=1)
        return float((expected - truth).sum()) + WEIGHT * (USUAL - 1 / inverse)

    high = 1 / USUAL
    while slope(high) < 0:
        high *= 2
    low = WEIGHT / (float((logits.max(axis=1) - truth).sum()) + WEIGHT * USUAL)
    return 1 / (low if slope(low) >= 0 else brentq(slope, low, high, xtol=1e-10))
