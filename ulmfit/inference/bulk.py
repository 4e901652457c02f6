"""A classifier's answers for a stream of rows, as the rows of a table, a window at a time.

Each has what the source said, then label and confidence, then the probability of each label.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ulmfit.inference.answers import Prediction, predictions
from ulmfit.inference.classifier import Classifier
from ulmfit.inference.texts import cut
from ulmfit.models.precision import Precision
from ulmfit.text.rows import Row, Rows


@dataclass(frozen=True)
class AnswerTable:
    """Answers beside their rows; memory holds one window of them."""

    classifier: Classifier
    rows: Rows
    precision: Precision = "auto"
    direction: str | None = None
    """forward or backward; None averages what there is."""

    def columns(self) -> list[str]:
        """Name all columns, each once: where a name is taken the label's, or the source's, gives way."""
        taken = ["label"]
        if self.classifier.label_kind != "number":
            taken.append("confidence")
            for name in self.classifier.labels:
                taken.append(free_name(name, taken, "label_"))
        kept: list[str] = []
        for name in self.rows.columns:
            kept.append(free_name(name, [*taken, *kept], "input_"))
        return [*kept, *taken]

    def answers(self) -> Iterator[tuple[Row, Prediction]]:
        """Yield each row with its answer, in the order of the source."""
        labels = self.classifier.parts.labels
        for window in cut(self.rows, lambda row: sum(map(len, row.texts))):
            found = self.classifier.probabilities(
                self.classifier.encode(*zip(*(row.texts for row in window))),
                precision=self.precision,
                direction=self.direction,
            )
            yield from zip(window, predictions(found, labels))

    def cells(self, row: Row, answer: Prediction) -> list[object]:
        """Put a row and its answer into the order of the columns."""
        if isinstance(answer.label, float):
            return [*row.cells, _rounded(answer.label)]
        numbers = map(_rounded, (answer.confidence, *answer.probabilities.tolist()))
        return [*row.cells, answer.label, *numbers]


def _rounded(number: float) -> float:
    """Keep the six digits that are the same whatever the company of a text."""
    return float(f"{number:.6g}")


def free_name(name: str, taken: list[str], prefix: str) -> str:
    """Put a prefix before a column's name until no other has it."""
    while name in taken:
        name = prefix + name
    return name
