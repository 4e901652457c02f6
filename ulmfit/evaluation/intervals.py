"""How far a figure can be trusted: bootstrap and Wilson intervals, McNemar's test, spread over seeds.

In: answers (answers.py), or counts. Out: frozen values that the report prints beside every figure.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ulmfit.errors import UserError
from ulmfit.evaluation.answers import Answers
from ulmfit.evaluation.metrics import METRICS, Metric, precision_recall_f1

N_RESAMPLES = 1000
LEVEL = 0.95
BLOCK = 1_000_000  # weights held at a time: 8 MB
# Made of absolute values, so that the noise of resampling only ever adds to them.
CENTRED = frozenset({"ece"})


@dataclass(frozen=True)
class Interval:
    """A figure and the range it stands in."""

    value: float
    low: float
    high: float
    method: str = "bootstrap"
    """bootstrap (over documents) or wilson."""
    level: float = LEVEL


@dataclass(frozen=True)
class Spread:
    """A figure over seeds."""

    mean: float
    sd: float
    """Standard deviation of a sample, with n - 1; not a number for one seed."""
    values: tuple[float, ...]


@dataclass(frozen=True)
class McNemar:
    """Two sets of answers to the same documents, compared where only one of them is right."""

    only_first: int
    only_second: int
    p_value: float
    """Two-sided and exact: the chance of a split at least as uneven if both were equally good."""


def bootstrap(
    statistic: Callable[[np.ndarray], np.ndarray], n_documents: int, *, n_resamples: int = N_RESAMPLES,
    seed: int = 0, is_centred: bool | np.ndarray = False,
) -> list[Interval]:  # fmt: skip
    """Give percentile intervals of a statistic over documents drawn with replacement.

    `statistic` maps weights (resamples, n_documents), how often each document was drawn, to values
    (resamples, ...); there is one interval for each of its figures, flattened. Where `is_centred`,
    the draws are moved back to the measured figure.
    """
    chance = np.random.default_rng(seed)
    block = max(1, BLOCK // n_documents)
    sizes = [min(block, n_resamples - start) for start in range(0, n_resamples, block)]
    rows = [statistic(_draw(chance, size, n_documents)) for size in sizes]
    drawn = np.concatenate(rows).reshape(n_resamples, -1)
    values = statistic(np.ones((1, n_documents))).ravel()
    drawn = np.where(is_centred, np.maximum(drawn - drawn.mean(axis=0) + values, 0), drawn)
    return [_percentiles(value, column) for value, column in zip(values, drawn.T)]


def _draw(chance: np.random.Generator, n_resamples: int, n_documents: int) -> np.ndarray:
    """Count how often each document is drawn in each resample."""
    drawn = chance.integers(n_documents, size=(n_resamples, n_documents))
    drawn += np.arange(n_resamples)[:, None] * n_documents
    counts = np.bincount(drawn.ravel(), minlength=n_resamples * n_documents)
    return counts.reshape(n_resamples, n_documents).astype(float)


def _percentiles(value: float, drawn: np.ndarray) -> Interval:
    """Cut the tails off; resamples in which the figure is not defined, a label missing, say nothing."""
    drawn = drawn[np.isfinite(drawn)]
    low, high = (
        np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if len(drawn) else [math.nan] * 2
    )
    return Interval(float(value), float(low), float(high))


def metric_intervals(
    seeds: Sequence[Answers], *, names: Sequence[str] | None = None, n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> dict[str, Interval]:  # fmt: skip
    """Give registered metrics, averaged over the answers of several training seeds, with their intervals.

    All seeds answered the same documents, so a resample draws the same ones for each.
    """
    registered = METRICS[seeds[0].kind]
    names = list(registered if names is None else names)

    def figures(weights: np.ndarray) -> np.ndarray:
        columns = [_mean_over(seeds, registered[name], weights) for name in names]
        return np.stack(columns, axis=-1)

    found = bootstrap(
        figures, len(seeds[0]), n_resamples=n_resamples, seed=seed,
        is_centred=np.array([name in CENTRED for name in names]),
    )  # fmt: skip
    return dict(zip(names, found, strict=True))


def _mean_over(seeds: Sequence[Answers], metric: Metric, weights: np.ndarray) -> np.ndarray:
    return np.mean([metric(answers, weights) for answers in seeds], axis=0)


def difference(
    metric: Metric, first: Sequence[Answers], second: Answers, *, n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> Interval:  # fmt: skip
    """Give metric(first) - metric(second) on the same documents, first averaged over its seeds."""
    _require_same_documents(first[0], second)
    (interval,) = bootstrap(
        lambda weights: (
            np.mean([metric(answers, weights) for answers in first], axis=0) - metric(second, weights)
        ),
        len(second), n_resamples=n_resamples, seed=seed,
    )  # fmt: skip
    return interval


def label_intervals(
    seeds: Sequence[Answers], *, n_resamples: int = N_RESAMPLES, seed: int = 0
) -> list[list[Interval]]:  # fmt: skip
    """Give precision, recall and F1 of each label, averaged over seeds, with their intervals."""
    flat = bootstrap(
        lambda weights: _mean_over(seeds, precision_recall_f1, weights),
        len(seeds[0]), n_resamples=n_resamples, seed=seed,
    )  # fmt: skip
    n_labels = len(seeds[0].names)
    return [flat[label::n_labels] for label in range(n_labels)]


def unweighted(figure: Callable[[np.ndarray, np.ndarray], float]) -> Metric:
    """Make a metric of a plain function of labels and scores, by repeating documents: simple and slow."""

    def metric(answers: Answers, weights: np.ndarray) -> np.ndarray:
        rows = weights.reshape(-1, weights.shape[-1]).astype(int)
        drawn = [np.repeat(np.arange(len(answers)), row) for row in rows]
        values = [
            figure(answers.labels[documents], answers.scores[documents]) for documents in drawn
        ]
        return np.reshape(np.asarray(values, dtype=float), weights.shape[:-1])

    return metric


def wilson(n_right: int, n_documents: int) -> Interval:
    """Give the score interval of a share (Wilson 1927): sound near 0 and 1, and for few documents."""
    if not 0 <= n_right <= n_documents or not n_documents:
        raise UserError(f"{n_right} right of {n_documents} documents is no share")
    share = n_right / n_documents
    z2 = statistics.NormalDist().inv_cdf((1 + LEVEL) / 2) ** 2
    centre = (share + z2 / (2 * n_documents)) / (1 + z2 / n_documents)
    half = math.sqrt(z2 * (share * (1 - share) + z2 / (4 * n_documents)) / n_documents)
    half /= 1 + z2 / n_documents
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return Interval(share, min(low, share), max(high, share), "wilson")


def mcnemar(first: Answers, second: Answers) -> McNemar:
    """Test whether two sets of answers to the same documents are equally often right."""
    _require_same_documents(first, second)
    only_first = int((first.is_right & ~second.is_right).sum())
    only_second = int((second.is_right & ~first.is_right).sum())
    n, rarer = only_first + only_second, min(only_first, only_second)
    term, tail = 1, 1  # binomial coefficients as exact integers: no rounding, no underflow
    for k in range(rarer):
        term = term * (n - k) // (k + 1)
        tail += term
    return McNemar(only_first, only_second, min(1.0, 2 * tail / 2**n))


def over_seeds(values: Sequence[float]) -> Spread:
    """Give mean and standard deviation of a figure over seeds."""
    sd = statistics.stdev(values) if len(values) > 1 else math.nan
    return Spread(statistics.fmean(values), sd, tuple(float(value) for value in values))


def _require_same_documents(first: Answers, second: Answers) -> None:
    if first.kind != second.kind or not np.array_equal(first.labels, second.labels):
        raise UserError(
            "the two sets of answers are not of the same documents: compare on one test set"
        )
