"""Occlusion: a text is read again with each word left out, and a word weighs what the score loses without it.

The classifier itself answers for every shortened text, so a weight is a fact about it and no
approximation; what words do only together, no single weight shows.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ulmfit.inference.explanation import Reading
from ulmfit.inference.label_score import label_scores
from ulmfit.inference.token_words import Words
from ulmfit.models.precision import Precision

if TYPE_CHECKING:
    from ulmfit.inference.classifier import Classifier

MAX_TOKENS = 1 << 18  # read for one explanation; a text of 500 words stays below it
LEAST_WINDOWS = 8  # however long a text is


def occlusion_readings(
    classifier: Classifier,
    ids: np.ndarray,
    words: Words,
    column: int,
    *,
    max_tokens: int,
    precision: Precision,
) -> list[Reading]:
    """Give what the answer loses without each word: first the answer of all directions, then of each.

    Where reading the text once for each word would take more than `max_tokens`, neighbours are left
    out together, and share what is lost evenly.
    """
    bounds = windows(len(words), len(ids), max_tokens=max_tokens)
    cuts = [slice(words.bounds[a], words.bounds[b]) for a, b in pairwise(bounds)]
    documents = [ids, *(np.delete(ids, cut) for cut in cuts)]
    logits = np.stack(
        [classifier.logits(documents, name, precision=precision) for name in classifier.directions]
    )
    sizes = np.diff(bounds)

    def reading(name: str, logits: np.ndarray) -> Reading:
        scores = label_scores(logits, classifier.parts.labels, column)
        weights = np.repeat((scores[0] - scores[1:]) / sizes, sizes)
        return Reading(name, float(scores[0]), tuple(weights.tolist()))

    each = [reading(name, logits[[i]]) for i, name in enumerate(classifier.directions)]
    return [reading("both", logits), *each]


def windows(n_words: int, n_tokens: int, *, max_tokens: int) -> list[int]:
    """Cut `n_words` into windows of one size, as many as reading `n_tokens` for each allows: their bounds."""
    most = max(LEAST_WINDOWS, max_tokens // n_tokens)
    size = max(1, -(-n_words // most))
    return [*range(0, n_words, size), n_words]


def occlusion_note(n_words: int, n_tokens: int, *, max_tokens: int) -> str:
    """Say how many words were left out at a time."""
    bounds = windows(n_words, n_tokens, max_tokens=max_tokens)
    n_windows = len(bounds) - 1
    if not n_words:
        return "the text has no words"
    if n_windows == n_words:
        return "each word was left out by itself"
    return (
        f"left out in {n_windows:,} windows of up to {bounds[1]} words, "
        "which share a window's weight evenly"
    )
