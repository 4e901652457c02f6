"""Exercise 9: the expected calibration error (Guo et al. 2017)."""

from __future__ import annotations

import math
from random import Random

from ulmfit.exercises.exercise import Exercise, Wrong


def calibration_error(confidence: list[float], is_right: list[bool], n_bins: int) -> float:
    """Give the expected calibration error over `n_bins` bins of equal width."""
    error = 0.0
    for b in range(n_bins):
        inside = []
        for i, c in enumerate(confidence):
            if b / n_bins < c <= (b + 1) / n_bins:
                inside.append(i)
        if inside:
            mean_confidence = sum(confidence[i] for i in inside) / len(inside)
            accuracy = sum(1 for i in inside if is_right[i]) / len(inside)
            error += len(inside) / len(confidence) * abs(accuracy - mean_confidence)
    return error


def _solution(confidence: list[float], is_right: list[bool], n_bins: int) -> float:
    import numpy as np

    c, right = np.array(confidence), np.array(is_right)
    bins = np.ceil(c * n_bins).astype(int) - 1
    gaps = np.bincount(bins, weights=right - c, minlength=n_bins)  # sums, so already weighted
    return float(np.abs(gaps).sum() / len(c))


def _make(random: Random, size: int) -> tuple[list[float], list[bool], int]:
    n_bins = random.choice((1, 2, 4, 8)[: 1 + size])
    grid = 8 * random.choice((1, 2, 5))  # in eighths, so that some stand exactly on an edge
    confidence = [random.randint(1, grid) / grid for _ in range(size)]
    return confidence, [random.random() < 0.6 for _ in confidence], n_bins


Bin = tuple[int, float, float]  # documents, mean confidence, accuracy


def _bins(confidence: list[float], is_right: list[bool], n_bins: int) -> list[Bin]:
    members: dict[int, list[int]] = {}
    for i, c in enumerate(confidence):
        members.setdefault(math.ceil(c * n_bins), []).append(i)
    return [
        (len(m), sum(confidence[i] for i in m) / len(m), sum(is_right[i] for i in m) / len(m))
        for m in members.values()
    ]


def _equal_bins(confidence: list[float], is_right: list[bool], n_bins: int) -> float:
    bins = _bins(confidence, is_right, n_bins)
    return sum(abs(accuracy - mean) for _, mean, accuracy in bins) / len(bins)


def _all_bins(confidence: list[float], is_right: list[bool], n_bins: int) -> float:
    bins = _bins(confidence, is_right, n_bins)
    return sum(abs(accuracy - mean) for _, mean, accuracy in bins) / n_bins


def _signed(confidence: list[float], is_right: list[bool], n_bins: int) -> float:
    return abs(sum(is_right) - sum(confidence)) / len(confidence)


def _confidence_over_accuracy(confidence: list[float], is_right: list[bool], n_bins: int) -> float:
    return (sum(confidence) - sum(is_right)) / len(confidence)


def _accuracy_over_confidence(confidence: list[float], is_right: list[bool], n_bins: int) -> float:
    return (sum(is_right) - sum(confidence)) / len(confidence)


def _each_document(confidence: list[float], is_right: list[bool], n_bins: int) -> float:
    return sum(abs(right - c) for right, c in zip(is_right, confidence)) / len(confidence)


def _largest(confidence: list[float], is_right: list[bool], n_bins: int) -> float:
    return max(abs(accuracy - mean) for _, mean, accuracy in _bins(confidence, is_right, n_bins))


def _squared(confidence: list[float], is_right: list[bool], n_bins: int) -> float:
    bins = _bins(confidence, is_right, n_bins)
    return sum(n * (accuracy - mean) ** 2 for n, mean, accuracy in bins) / len(confidence)


def _closed_below(confidence: list[float], is_right: list[bool], n_bins: int) -> float:
    inner = [(min(n_bins - 1, int(c * n_bins)) + 0.5) / n_bins for c in confidence]
    gaps: dict[float, float] = {}
    for middle, c, right in zip(inner, confidence, is_right):
        gaps[middle] = gaps.get(middle, 0.0) + right - c
    return sum(map(abs, gaps.values())) / len(confidence)


def _midpoints(confidence: list[float], is_right: list[bool], n_bins: int) -> float:
    bins = _bins(confidence, is_right, n_bins)
    middles = [(math.ceil(mean * n_bins - 1e-9) - 0.5) / n_bins for _, mean, _ in bins]
    return sum(n * abs(a - m) for (n, _, a), m in zip(bins, middles)) / len(confidence)


CALIBRATION_ERROR = Exercise(
    title="Expected calibration error",
    task="""\
A classifier that says "90 %" should be right nine times in ten. `confidence[i]` is the probability that it gave its
answer for document i (above 0, at most 1), `is_right[i]` whether the answer was right.

Put the documents into `n_bins` bins of equal width over (0, 1]; a bin is open below and closed above, so 0.5 with two bins
falls into the first. For each bin take |accuracy - mean confidence|. The result is their mean **weighted by the number
of documents** in each bin; empty bins count nothing (Guo et al. 2017).""",
    spec=calibration_error,
    make=_make,
    hint="bin by bin: the absolute difference of accuracy and mean confidence, times the bin's share of all documents; "
    "then the sum.",
    wrong=(
        Wrong(
            _equal_bins,
            "every bin counts the same in your mean: weigh each by its share of the documents, else one document alone "
            "in its bin speaks as loudly as a thousand.",
        ),
        Wrong(
            _all_bins,
            "you divide by n_bins: weigh each bin by its share of the documents instead; empty bins then count nothing.",
        ),
        Wrong(
            _signed,
            "you compare accuracy and confidence once, over all documents. Too sure here and too modest there then "
            "cancel out: take the absolute difference bin by bin.",
        ),
        Wrong(
            _confidence_over_accuracy,
            "differences of bins cancel out in your sum: take the absolute value of each before adding.",
        ),
        Wrong(
            _accuracy_over_confidence,
            "differences of bins cancel out in your sum: take the absolute value of each before adding.",
        ),
        Wrong(
            _each_document,
            "you compare each document with its own confidence. One answer is right or wrong, never 90 % right: only the "
            "accuracy of a whole bin can be compared.",
        ),
        Wrong(
            _largest,
            "that is the largest difference (the maximum calibration error): take the weighted mean.",
        ),
        Wrong(_squared, "you square the differences: take their absolute values."),
        Wrong(
            _closed_below,
            "a confidence on the edge of two bins falls into the lower one: bins are open below and closed above.",
        ),
        Wrong(
            _midpoints,
            "you compare with the middle of the bin: compare with the mean confidence of the documents in it.",
        ),
    ),
    solution=_solution,
    home="ulmfit/evaluation/metrics.py",
)
