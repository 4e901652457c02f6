"""One number that makes a classifier's confidence honest: temperature scaling (Guo et al. 2017).

In: logits of validation documents, with their labels. Out: what to divide the logits by.
"""

from __future__ import annotations

import numpy as np

from ulmfit.errors import UserError

# Perfectly separated validation data would ask for temperature 0, pure noise for infinity.
COLDEST, HOTTEST = 0.05, 20.0


def softmax(logits: np.ndarray, *, temperature: float = 1.0) -> np.ndarray:
    """Turn logits into probabilities, softened by a temperature above 1, sharpened by one below."""
    scaled = np.asarray(logits, dtype=float) / temperature
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def best_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Choose the temperature with the smallest negative log-likelihood."""
    from scipy.optimize import brentq

    logits, labels = np.asarray(logits, dtype=float), np.asarray(labels)
    if not len(labels):
        raise UserError("no validation documents: set some of the training documents apart")

    def slope(inverse: float) -> float:
        """Differentiate the likelihood in 1 / temperature, in which it is convex."""
        expected = (softmax(logits, temperature=1 / inverse) * logits).sum(axis=1)
        return float((expected - logits[np.arange(len(labels)), labels]).mean())

    low, high = 1 / HOTTEST, 1 / COLDEST
    if slope(low) >= 0:
        inverse = 1.0 if slope(high) <= 0 else low  # flat: the logits say nothing
    else:
        inverse = high if slope(high) <= 0 else brentq(slope, low, high, xtol=1e-10)
    return 1 / inverse
