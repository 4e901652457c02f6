"""All figures of a set of answers at once: the metrics, the table of the labels, the confusion matrix."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ulmfit.evaluation.answers import Answers
from ulmfit.evaluation.metrics import METRICS, confusion, precision_recall_f1


@dataclass(frozen=True)
class LabelScores:
    """The figures of one label."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int
    """Documents that truly have the label."""


@dataclass(frozen=True)
class Scores:
    """All figures of a set of answers."""

    kind: str
    n_documents: int
    metrics: dict[str, float]
    """One value for each name in METRICS[kind]."""
    labels: tuple[LabelScores, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    """Rows are true labels, columns predicted ones; empty unless the kind is category."""

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can hold; a figure that is not defined becomes null."""
        return without_nan(asdict(self))


def score(answers: Answers) -> Scores:
    """Compute every registered metric and the tables of the labels."""
    once = np.ones(len(answers))
    metrics = {name: float(metric(answers, once)) for name, metric in METRICS[answers.kind].items()}
    if answers.kind == "number":
        return Scores(answers.kind, len(answers), metrics)
    figures = precision_recall_f1(answers, once).T.tolist()
    if answers.kind == "multi":
        support, table = answers.labels.sum(0), ()
    else:
        support = np.bincount(answers.labels, minlength=len(answers.names))
        table = tuple(tuple(int(n) for n in row) for row in confusion(answers, once))
    rows = [
        LabelScores(name, *row, int(n)) for name, row, n in zip(answers.names, figures, support)
    ]
    return Scores(answers.kind, len(answers), metrics, tuple(rows), table)


def without_nan(value: Any) -> Any:
    """Replace what JSON cannot say, nan and infinity, by None, at any depth."""
    if isinstance(value, dict):
        return {key: without_nan(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
