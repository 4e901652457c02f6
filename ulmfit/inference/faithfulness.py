"""Deletion curves: are the weights of an explanation true of the classifier?

Words go in the order of their weights, the strongest for the label first, and the classifier answers
for what is left. The sooner the label's score falls, compared with words that go by chance, the truer
the weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ulmfit.config import require
from ulmfit.inference.explanation import Explanation
from ulmfit.inference.label_score import label_scores
from ulmfit.models.precision import Precision
from ulmfit.text.vocab import BOS_ID

if TYPE_CHECKING:
    from ulmfit.inference.classifier import Classifier


@dataclass(frozen=True)
class DeletionCurve:
    """The label's score while more and more words are left out."""

    shares: tuple[float, ...]
    """Of the words left out, 0 to 1."""
    scores: tuple[float, ...]
    """In the order of the weights."""
    random_scores: tuple[float, ...]
    """The mean of random orders."""

    @property
    def advantage(self) -> float:
        """How far the score lies below that of random orders, on average: above 0 for true weights."""
        return float(np.mean(self.random_scores) - np.mean(self.scores))


def deletion_curve(
    classifier: Classifier,
    explanation: Explanation,
    *,
    n_points: int = 11,
    n_orders: int = 8,
    seed: int = 0,
    precision: Precision = "auto",
) -> DeletionCurve:
    """Leave out words at `n_points` equal steps, by weight and in `n_orders` random orders."""
    require(n_points >= 2, "n_points", n_points, "2 or more")
    require(n_orders >= 1, "n_orders", n_orders, "1 or more")
    words = [classifier.vocab.encode(tokens) for tokens in explanation.tokens]
    generator = np.random.default_rng(seed)
    by_weight = np.argsort(-np.array(explanation.weights), kind="stable")
    orders = [by_weight, *(generator.permutation(len(words)) for _ in range(n_orders))]
    shares = np.linspace(0, 1, n_points)
    counts = np.rint(shares * len(words)).astype(int)
    documents = [_without(words, order[:n]) for order in orders for n in counts]
    logits = np.stack(
        [classifier.logits(documents, name, precision=precision) for name in classifier.directions]
    )
    column = classifier.labels.index(explanation.label)
    scores = label_scores(logits, classifier.parts.labels, column).reshape(len(orders), n_points)
    own, by_chance = scores[0], scores[1:].mean(0)
    return DeletionCurve(tuple(shares.tolist()), tuple(own.tolist()), tuple(by_chance.tolist()))


def _without(words: list[np.ndarray], gone: np.ndarray) -> np.ndarray:
    """Join the words that are left to one document."""
    is_left = np.ones(len(words), bool)
    is_left[gone] = False
    left = [word for word, stays in zip(words, is_left) if stays]
    return np.concatenate([np.array([BOS_ID], np.int64), *left])
