"""Figures of a set of answers, over weighted documents: arrays in, one figure per row of weights out.

The weights count each document, a row per resample, so that a bootstrap over documents is a few
array operations (intervals.py). A metric is one function and one line in METRICS.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ulmfit.evaluation.answers import Answers

N_BINS = 15  # of confidence, as in Guo et al. 2017
Metric = Callable[[Answers, np.ndarray], np.ndarray]


def confusion(answers: Answers, weights: np.ndarray) -> np.ndarray:
    """Count the documents of each true label (rows) that got each predicted label (columns)."""
    n = len(answers.names)
    cells = answers.labels.astype(np.int64) * n + answers.predicted
    groups = _Groups.of(cells)
    table = np.zeros((*weights.shape[:-1], n * n))
    table[..., groups.keys] = groups.sum(weights)
    return table.reshape(*weights.shape[:-1], n, n)


def confusion_table(answers: Answers) -> tuple[tuple[int, ...], ...]:
    """Count each document once; nothing unless a document has one label."""
    if answers.kind != "category":
        return ()
    return tuple(tuple(map(int, row)) for row in confusion(answers, np.ones(len(answers))))


def precision_recall_f1(answers: Answers, weights: np.ndarray) -> np.ndarray:
    """Give the three figures of each label, (..., 3, n_labels); not a number where nothing was counted."""
    if answers.kind == "multi":
        truth, said = answers.labels.astype(float), answers.predicted.astype(float)
        hits, n_said, n_true = (weights @ counts for counts in (truth * said, said, truth))
    else:
        table = confusion(answers, weights)
        hits = np.diagonal(table, axis1=-2, axis2=-1)
        n_said, n_true = table.sum(-2), table.sum(-1)
    parts = (hits, n_said), (hits, n_true), (2 * hits, n_said + n_true)
    return np.stack([_ratio(*part) for part in parts], axis=-2)


def accuracy(answers: Answers, weights: np.ndarray) -> np.ndarray:
    """Give the share of documents answered wholly right; for multi-label data, subset accuracy."""
    return _mean(answers.is_right, weights)


def error(answers: Answers, weights: np.ndarray) -> np.ndarray:
    """Give the share of documents answered wrong."""
    return 1 - accuracy(answers, weights)


def macro_f1(answers: Answers, weights: np.ndarray) -> np.ndarray:
    """Average F1 over the labels that occur, in truth or in the answers."""
    return _mean_of_finite(precision_recall_f1(answers, weights)[..., 2, :])


def micro_f1(answers: Answers, weights: np.ndarray) -> np.ndarray:
    """Give F1 over all pairs of document and label: for multi-label data."""
    truth, said = answers.labels.astype(float), answers.predicted.astype(float)
    hits, n = weights @ (truth * said).sum(1), weights @ (truth + said).sum(1)
    return _ratio(2 * hits, n)


def auc(answers: Answers, weights: np.ndarray) -> np.ndarray:
    """Give the area under the ROC curve: of the second of two labels, else one against the rest, averaged."""
    truth = answers.labels
    if answers.kind == "category":
        truth = truth[:, None] == np.arange(len(answers.names))
    columns = (
        [1] if answers.kind == "category" and len(answers.names) == 2 else range(truth.shape[1])
    )
    areas = [_area(truth[:, c] > 0, answers.scores[:, c], weights) for c in columns]
    return _mean_of_finite(np.stack(areas, axis=-1))


def _area(truth: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Give the probability that a true document scores above a false one, ties counted half."""
    order = np.argsort(scores, kind="stable")
    ranked, is_true = scores[order], truth[order]
    # Single precision is exact for counts up to 16 million; whole rows are moved at a time.
    counts = np.ascontiguousarray(np.moveaxis(weights, -1, 0), dtype=np.float32)[order]  # (n, ...)
    true = counts[is_true].astype(float)
    counts[is_true] = 0
    # Row k sums the false documents among the k lowest scores.
    false = np.concatenate([np.zeros_like(counts[:1]), np.cumsum(counts, axis=0)])
    below, up_to = (np.searchsorted(ranked, ranked[is_true], side) for side in ("left", "right"))
    pairs = (true * (false[below] + false[up_to].astype(float))).sum(axis=0) / 2
    return _ratio(pairs, true.sum(axis=0) * false[-1])


def bin_numbers(confidence: np.ndarray, n_bins: int = N_BINS) -> np.ndarray:
    """Put confidences into bins of equal width, each open below and closed above."""
    return np.clip(np.ceil(confidence * n_bins).astype(int) - 1, 0, n_bins - 1)


def ece(answers: Answers, weights: np.ndarray) -> np.ndarray:
    """Give the expected calibration error: how far confidence is from accuracy, bin by bin (Guo et al. 2017)."""
    confidence = answers.scores.max(axis=1)
    bins = np.eye(N_BINS)[bin_numbers(confidence)]  # (n, n_bins)
    gaps = weights @ (bins * (answers.is_right - confidence)[:, None])
    return np.abs(gaps).sum(-1) / weights.sum(-1)


def nll(answers: Answers, weights: np.ndarray) -> np.ndarray:
    """Give the mean negative log-likelihood of the true labels, in nats."""
    chosen = answers.scores[np.arange(len(answers)), answers.labels]
    return _mean(-np.log(np.maximum(chosen, np.finfo(float).tiny)), weights)


def mae(answers: Answers, weights: np.ndarray) -> np.ndarray:
    """Give the mean absolute error."""
    return _mean(np.abs(answers.scores - answers.labels), weights)


def rmse(answers: Answers, weights: np.ndarray) -> np.ndarray:
    """Give the root of the mean squared error."""
    return np.sqrt(_mean((answers.scores - answers.labels) ** 2, weights))


def r2(answers: Answers, weights: np.ndarray) -> np.ndarray:
    """Give the share of the labels' variance that the predictions explain."""
    errors = _mean((answers.scores - answers.labels) ** 2, weights)
    spread = _covariance(answers.labels, answers.labels, weights)
    return 1 - _ratio(errors, spread)


def pearson(answers: Answers, weights: np.ndarray) -> np.ndarray:
    """Give the linear correlation of predictions and labels."""
    x, y = answers.labels, answers.scores
    scale = np.sqrt(_covariance(x, x, weights) * _covariance(y, y, weights))
    return _ratio(_covariance(x, y, weights), scale)


@dataclass(frozen=True)
class _Groups:
    """Documents that share a key, in the order of the keys."""

    keys: np.ndarray
    order: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, keys: np.ndarray) -> _Groups:
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        return cls(ordered[starts], order, starts)

    def sum(self, weights: np.ndarray) -> np.ndarray:
        """Add up the weights of each group, (..., n) -> (..., n_groups)."""
        return np.add.reduceat(weights[..., self.order], self.starts, axis=-1)


def _mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return weights @ values.astype(float) / weights.sum(-1)


def _covariance(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    x, y = (
        x - x.mean(dtype=float),
        y - y.mean(dtype=float),
    )  # near zero, so that nothing cancels below
    return _mean(x * y, weights) - _mean(x, weights) * _mean(y, weights)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=np.greater(whole, 0))


def _mean_of_finite(values: np.ndarray) -> np.ndarray:
    is_finite = np.isfinite(values)
    return _ratio(np.where(is_finite, values, 0).sum(-1), is_finite.sum(-1))


METRICS: dict[str, dict[str, Metric]] = {
    "category": {
        "accuracy": accuracy, "error": error, "macro_f1": macro_f1, "auc": auc, "nll": nll, "ece": ece,
    },
    "multi": {"micro_f1": micro_f1, "macro_f1": macro_f1, "subset_accuracy": accuracy, "auc": auc},
    "number": {"mae": mae, "rmse": rmse, "r2": r2, "pearson": pearson},
}  # fmt: skip
