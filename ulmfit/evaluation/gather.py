"""From answers to the rows of evidence: every figure gets its interval here, and nowhere else.

`seeds` are the answers of models trained with different seeds to the same test documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ulmfit.evaluation.answers import Answers
from ulmfit.evaluation.calibration import reliability
from ulmfit.evaluation.evidence import (
    BaselineRow,
    CalibrationRows,
    DirectionRow,
    ErrorRow,
    LabelRow,
    ScoreRow,
)
from ulmfit.evaluation.intervals import (
    Spread,
    difference,
    label_intervals,
    mcnemar,
    metric_intervals,
    over_seeds,
    wilson,
)
from ulmfit.evaluation.metrics import METRICS, accuracy

if TYPE_CHECKING:
    from ulmfit.evaluation.baselines import BaselineAnswers

# What is said of each direction alone.
MAIN_METRICS = {
    "category": ("accuracy", "error", "macro_f1"),
    "multi": ("micro_f1", "macro_f1", "subset_accuracy"),
    "number": ("mae", "rmse", "pearson"),
}
EXCERPT = 400  # characters of a text that a report shows


def score_rows(
    seeds: Sequence[Answers], *, names: Sequence[str] | None = None
) -> tuple[ScoreRow, ...]:
    """Compute all metrics, or some; plain shares of documents, of a single seed, get Wilson's interval."""
    found = metric_intervals(seeds, names=names)
    if len(seeds) > 1:
        return tuple(ScoreRow(name, found[name], _spread(name, seeds)) for name in found)
    n, n_right = len(seeds[0]), int(seeds[0].is_right.sum())
    counts = {"accuracy": n_right, "subset_accuracy": n_right, "error": n - n_right}
    found |= {name: wilson(count, n) for name, count in counts.items() if name in found}
    return tuple(ScoreRow(name, figure) for name, figure in found.items())


def _spread(name: str, seeds: Sequence[Answers]) -> Spread:
    metric, once = METRICS[seeds[0].kind][name], np.ones(len(seeds[0]))
    return over_seeds([float(metric(answers, once)) for answers in seeds])


def label_rows(seeds: Sequence[Answers]) -> tuple[LabelRow, ...]:
    """Compute the figures of each label."""
    labels = seeds[0].labels
    support = (
        labels.sum(0) if labels.ndim == 2 else np.bincount(labels, minlength=len(seeds[0].names))
    )
    return tuple(
        LabelRow(name, *figures, int(n))
        for name, figures, n in zip(seeds[0].names, label_intervals(seeds), support)
    )


def baseline_row(seeds: Sequence[Answers], baseline: BaselineAnswers) -> BaselineRow:
    """Set a baseline beside the model; of several seeds, McNemar's test takes the least certain one."""
    answers = baseline.answers
    return BaselineRow(
        baseline.name,
        wilson(int(answers.is_right.sum()), len(answers)),
        metric_intervals([answers], names=["macro_f1"])["macro_f1"],
        difference(accuracy, seeds, answers),
        max((mcnemar(ours, answers) for ours in seeds), key=lambda test: test.p_value),
        baseline.n_train,
        baseline.fit_seconds,
        baseline.predict_seconds,
    )


def direction_row(name: str, seeds: Sequence[Answers]) -> DirectionRow:
    """Compute the main metrics of one direction alone."""
    return DirectionRow(name, score_rows(seeds, names=MAIN_METRICS[seeds[0].kind]))


def calibration_rows(
    before: Answers, after: Answers, *, temperature: float, n_valid: int
) -> CalibrationRows:
    """Set the answers of one seed before and after temperature scaling beside each other."""
    first, second = (metric_intervals([each], names=["ece", "nll"]) for each in (before, after))
    figures = first["ece"], second["ece"], first["nll"], second["nll"]
    curves = reliability(before), reliability(after)
    return CalibrationRows(temperature, n_valid, *figures, *curves)


def surest_errors(answers: Answers, *, n: int = 10) -> list[int]:
    """Number the wrong answers of highest confidence, the surest first; of numbers, the farthest off."""
    wrong = np.flatnonzero(~answers.is_right)
    return wrong[np.argsort(-_surprise(answers)[wrong], kind="stable")][:n].tolist()


def _surprise(answers: Answers) -> np.ndarray:
    """Say how sure each answer is, of many labels the surest wrong one; of numbers, how far it is off."""
    if answers.kind == "number":
        return np.abs(answers.scores - answers.labels)
    if answers.kind == "category":
        return answers.scores.max(axis=1)
    return _wrongness(answers).max(axis=1)


def _wrongness(answers: Answers) -> np.ndarray:
    """Say how sure each wrong answer is of many labels; 0 for the right ones."""
    sure = np.maximum(answers.scores, 1 - answers.scores)
    return np.where(answers.labels != answers.predicted, sure, 0)


def disputed_label(answers: Answers, document: int) -> str | None:
    """Name the label to explain a wrong answer by: of many the surest wrong one, else the one that was given."""
    if answers.kind != "multi":
        return None
    return answers.names[int(_wrongness(answers)[document].argmax())]


def error_row(answers: Answers, document: int, text: str) -> ErrorRow:
    """Put a wrong answer into words."""
    confidence = np.nan if answers.kind == "number" else _surprise(answers)[document]
    truth, said = (
        in_words(answers, each[document]) for each in (answers.labels, answers.predicted)
    )
    return ErrorRow(excerpt(text), truth, said, float(confidence))


def in_words(answers: Answers, label: Any, *, separator: str = ", ") -> str:
    """Name a label that is given as in `Answers.labels`."""
    if answers.kind == "number":
        return f"{label:g}"
    if answers.kind == "category":
        return answers.names[label]
    return separator.join(name for name, holds in zip(answers.names, label) if holds)


def excerpt(text: str, *, characters: int = EXCERPT) -> str:
    """Shorten a text at a space."""
    if len(text) <= characters:
        return text
    head = text[:characters]
    return (head[: head.rfind(" ")] if " " in head[characters // 2 :] else head) + " …"
