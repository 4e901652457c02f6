"""What a report is made of: frozen rows, each figure with its interval, and `Evidence`, which holds them all.

Whoever ran an experiment fills this in (gather.py computes the rows); blocks.py shows it. What is
left empty is left out of the report.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ulmfit.config import require
from ulmfit.evaluation.answers import Answers
from ulmfit.evaluation.calibration import Bin
from ulmfit.evaluation.intervals import Interval, McNemar, Spread

PROTOCOLS = {
    "clean": "Nothing of the test split was read before this evaluation, neither texts nor labels.",
    "transductive": "The language model has read the texts of the test documents, but no label of theirs.",
    "as_published": "This is not a clean test result. As in the published notebooks, the language model has read the "
    "texts of the test documents, and their labels served to choose the classifier: expect less on new documents.",
    "unknown": "The model was trained elsewhere: what it has seen of the test documents is not known.",
}


@dataclass(frozen=True)
class ScoreRow:
    """One metric."""

    name: str
    """Its name in METRICS."""
    figure: Interval
    spread: Spread | None = None
    """Over the seeds, if there were several."""


@dataclass(frozen=True)
class DirectionRow:
    """One direction of a classifier that averages two."""

    name: str
    """forward or backward."""
    scores: tuple[ScoreRow, ...]


@dataclass(frozen=True)
class LabelRow:
    """One label."""

    name: str
    precision: Interval
    recall: Interval
    f1: Interval
    support: int
    """Documents that truly have the label."""


@dataclass(frozen=True)
class BaselineRow:
    """One baseline beside the model, on the same documents."""

    name: str
    accuracy: Interval
    macro_f1: Interval
    difference: Interval
    """Accuracy of the model less that of the baseline."""
    test: McNemar
    n_train: int
    fit_seconds: float
    predict_seconds: float


@dataclass(frozen=True)
class Seconds:
    """What the model cost, to set beside the baselines."""

    fit: float
    """Of the classifier's own training; that of its language model is not in it."""
    predict: float


@dataclass(frozen=True)
class CalibrationRows:
    """What temperature scaling did to the confidence of the test answers."""

    temperature: float
    n_valid: int
    """Validation documents that chose the temperature; 0 where they are not known."""
    ece_before: Interval
    ece_after: Interval
    nll_before: Interval
    nll_after: Interval
    before: tuple[Bin, ...]
    after: tuple[Bin, ...]


@dataclass(frozen=True)
class ErrorRow:
    """A document answered wrong with confidence."""

    excerpt: str
    true: str
    predicted: str
    confidence: float
    """Not a number where the labels are numbers."""


@dataclass(frozen=True)
class ComparisonRow:
    """A figure of ours beside a published one."""

    name: str
    metric: str
    """The metric of both, by its name in METRICS."""
    ours: Interval
    theirs: float
    source: str
    seeds: tuple[int, ...] = ()
    """Seeds of ours, where they are not those of the report."""


@dataclass(frozen=True)
class Explanation:
    """A text whose words speak for a label (above 0) or against it (below 0)."""

    kind: ClassVar[str] = "words"
    heading: str
    words: tuple[str, ...]
    weights: tuple[float, ...]

    def strengths(self) -> list[tuple[str, float]]:
        """Pair each word with its weight, the largest as 1 or -1."""
        largest = max((abs(weight) for weight in self.weights), default=0) or 1
        return [(word, weight / largest) for word, weight in zip(self.words, self.weights)]

    def shades(self) -> list[tuple[str, str]]:
        """Pair each word with a colour: green speaks for the label, red against it."""
        return [
            (
                word,
                f"rgba({'46,139,87' if strength > 0 else '200,60,40'},{abs(strength) * 0.6:.2f})",
            )
            for word, strength in self.strengths()
        ]


@dataclass(frozen=True)
class Grid:
    """Rows of a file such as history.csv, the first column first."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str | float, ...], ...]


@dataclass(frozen=True)
class Course:
    """How the training of one direction went."""

    direction: str
    history: Grid
    """A row an epoch."""
    schedule: Grid | None = None
    """The learning rate of each layer group, 0 where it is frozen, over the batches of the first column."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """What was answered, document by document."""

    rows: np.ndarray
    """Their numbers in the corpus."""
    answers: tuple[Answers, ...]
    """Of each seed."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """Everything that is known about a classifier."""

    title: str
    protocol: str
    """What was known of the test documents beforehand: a name in PROTOCOLS."""
    seeds: tuple[int | None, ...]
    """None for a model whose seed is not known."""
    n_documents: int
    """Documents that were answered."""
    split: str = "test"
    """Their split: test, or valid."""
    notes: tuple[str, ...] = ()
    """Sentences that a reader of the figures must know."""
    facts: tuple[tuple[str, str], ...] = ()
    """Of the data and the run: name and value."""
    scores: tuple[ScoreRow, ...] = ()
    directions: tuple[DirectionRow, ...] = ()
    comparisons: tuple[ComparisonRow, ...] = ()
    baselines: tuple[BaselineRow, ...] = ()
    seconds: Seconds | None = None
    labels: tuple[LabelRow, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    """Of the first seed; rows are true labels in the order of `labels`."""
    calibration: CalibrationRows | None = None
    courses: tuple[Course, ...] = ()
    """Of the first seed."""
    errors: tuple[ErrorRow, ...] = ()
    explanations: tuple[Explanation, ...] = ()
    predictions: Predictions | None = None

    def __post_init__(self) -> None:
        require(self.protocol in PROTOCOLS, "protocol", self.protocol, ", ".join(PROTOCOLS))
        require(len(self.seeds) > 0, "seeds", self.seeds, "one seed or more")

    @property
    def seed_names(self) -> tuple[str, ...]:
        """The seeds in words."""
        return tuple("unknown" if seed is None else str(seed) for seed in self.seeds)

    @property
    def documents(self) -> str:
        """How many documents of which split were answered."""
        return f"{self.n_documents:,} {self.split} document{'' if self.n_documents == 1 else 's'}"
