"""What came out of an experiment: a result a run, and a summary of all runs that differ in their seed alone.

In: results, with the answers in their folders. Out: means with intervals and spread, beside what is published.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ulmfit.evaluation.folder import PREDICTIONS
from ulmfit.evaluation.intervals import Interval, Spread, bootstrap, over_seeds
from ulmfit.evaluation.targets import Target, ablation, finished


@dataclass(frozen=True)
class Beside:
    """What a baseline reached with the same labels on the same documents."""

    name: str
    accuracy: float


@dataclass(frozen=True)
class Result:
    """One run."""

    row: str
    """The row of a table; empty without one."""
    n_labels: int | None
    """The label budget; None for all labels."""
    n_given: int
    """Labelled documents that the classifier had, those held out to measure on included."""
    seed: int
    direction: str
    split: str
    protocol: str
    n_documents: int
    accuracy: Interval
    baselines: tuple[Beside, ...]
    lm_folder: str
    """The training of its language model, which other runs may share; empty where there was none."""
    lm_seconds: float
    classifier_seconds: float
    answer_seconds: float
    folder: str
    """Below that of the experiment; empty for the experiment's own."""


@dataclass(frozen=True)
class Summary:
    """All runs of one row and one budget."""

    row: str
    n_labels: int | None
    n_given: int
    seeds: tuple[int, ...]
    accuracy: Interval
    """Mean over the seeds, and its interval over the documents."""
    spread: Spread
    baselines: tuple[Beside, ...]
    """Means over the seeds."""
    theirs: float | None
    """The published error, as a share."""
    source: str
    their_protocol: str
    """Their direction, the split that they answered, and what was known of it."""

    @property
    def error(self) -> Interval:
        """The share of wrong answers."""
        a = self.accuracy
        return Interval(1 - a.value, 1 - a.high, 1 - a.low, a.method, a.level)


def summaries(
    results: Sequence[Result], out: Path, *, data_set: str, table: int | None
) -> tuple[Summary, ...]:
    """Put the seeds of each row and budget together, in the order in which they were run."""
    groups: dict[tuple[str, int | None], list[Result]] = {}
    for result in results:
        groups.setdefault((result.row, result.n_labels), []).append(result)
    return tuple(_summary(group, out, data_set, table) for group in groups.values())


def _summary(group: list[Result], out: Path, data_set: str, table: int | None) -> Summary:
    first = group[0]
    right = [_is_right(out / each.folder / PREDICTIONS) for each in group]
    names = [each.name for each in first.baselines]
    means = [
        float(np.mean([each.baselines[n].accuracy for each in group])) for n in range(len(names))
    ]
    theirs = _target(first, data_set, table)
    return Summary(
        row=first.row,
        n_labels=first.n_labels,
        n_given=first.n_given,
        seeds=tuple(each.seed for each in group),
        accuracy=first.accuracy if len(group) == 1 else mean_accuracy(right),
        spread=over_seeds([each.accuracy.value for each in group]),
        baselines=tuple(map(Beside, names, means)),
        theirs=theirs.error if theirs else None,
        source=theirs.source if theirs else "",
        their_protocol=f"{theirs.direction}, {theirs.split}, {theirs.protocol}" if theirs else "",
    )


def _target(result: Result, data_set: str, table: int | None) -> Target | None:
    """Find the published figure to compare with: the row of the table, or the finished classifier."""
    if result.n_labels is not None:
        return None
    if table is not None:
        return ablation(table, data_set).get(result.row)
    if result.split != "test":
        return None
    rows = finished(data_set)  # of the same direction, if one was published
    return next((t for t in rows if t.direction == result.direction), next(iter(rows), None))


def _is_right(path: Path) -> dict[int, bool]:
    """Read which documents were answered right; by places, since a label may be called like a column."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        next(rows)
        return {int(row): label == predicted for row, label, predicted, *_ in rows}


def mean_accuracy(right: Sequence[dict[int, bool]]) -> Interval:
    """Average accuracy over seeds, each of which may have answered other documents; resample documents."""
    numbers = sorted(set().union(*right))
    answered = np.array([[n in each for n in numbers] for each in right], dtype=float).T
    hits = np.array([[each.get(n, False) for n in numbers] for each in right], dtype=float).T

    def mean(weights: np.ndarray) -> np.ndarray:
        n_drawn = weights @ answered  # (samples, seeds)
        # A seed none of whose documents was drawn says nothing.
        with np.errstate(invalid="ignore"):
            shares = (weights @ hits) / n_drawn
            return np.nansum(shares, axis=1) / (n_drawn > 0).sum(axis=1)

    (interval,) = bootstrap(mean, len(numbers))
    return interval
