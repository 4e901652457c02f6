"""What the blocks of a report are made of, and how they word their figures. Texts are plain: the templates escape them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from matplotlib.figure import Figure

from ulmfit.evaluation.evidence import Evidence, Explanation
from ulmfit.evaluation.intervals import Interval

# Metrics that are shares and read best in percent; any other is printed as it is.
SHARES = frozenset(
    ("accuracy", "error", "macro_f1", "micro_f1", "subset_accuracy", "auc", "ece", "f1")
)
PHONE = 44
TITLES = {"auc": "AUC", "nll": "log-loss", "ece": "calibration error (ECE)", "r2": "R²", "mae": "MAE", "rmse": "RMSE"}  # fmt: skip


@dataclass(frozen=True)
class Paragraph:
    """A few sentences."""

    kind: ClassVar[str] = "paragraph"
    text: str


@dataclass(frozen=True)
class Table:
    """Rows of text; the first column heads its row."""

    kind: ClassVar[str] = "table"
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""

    @property
    def is_wide(self) -> bool:
        """Whether a phone shows each row as a list: its lines hold about PHONE letters."""
        columns = list(zip(self.columns, *self.rows))
        # What must stay on one line: a no-break space, U+00A0, is no place to break.
        longest = [
            max(len(word) for cell in column for word in (cell.split(" "))) for column in columns
        ]
        return sum(longest) + len(columns) > PHONE or any(
            len(c) > 80 for row in self.rows for c in row
        )


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure, with words for those who do not see it."""

    kind: ClassVar[str] = "picture"
    name: str
    figure: Figure
    words: str


Part = Paragraph | Table | Picture | Explanation


def percent(share: float) -> str:
    """Write a share in percent."""
    return "–" if math.isnan(share) else f"{100 * share:.2f}\N{NO-BREAK SPACE}%"


def shown(figure: Interval, metric: str = "accuracy") -> str:
    """Write a figure with its interval."""
    if math.isnan(figure.value):
        return "not defined"
    if metric in SHARES:
        return f"{percent(figure.value)} {between(100 * figure.low, 100 * figure.high, '.2f')}"
    return f"{figure.value:.4f} {between(figure.low, figure.high, '.4f')}"


def between(low: float, high: float, form: str) -> str:
    """Write the ends of an interval, which stay on one line."""
    return f"[{low:{form}},\N{NO-BREAK SPACE}{high:{form}}]"


def basis(evidence: Evidence) -> str:
    """Say what the figures of a table stand on."""
    seeds = ", ".join(evidence.seed_names)
    word = "seed" if len(evidence.seeds) == 1 else "mean of seeds"
    return f"{evidence.documents}, {word} {seeds}, 95 % intervals in brackets"


def title(metric: str) -> str:
    """Name a metric for people."""
    return TITLES.get(metric, metric.replace("_", " ").replace("f1", "F1"))


def signed(value: float, low: float, high: float, metric: str = "accuracy") -> str:
    """Write a difference with its interval, in points of a percentage for shares."""
    scale, form = (100, "+.2f") if metric in SHARES else (1, "+.4f")
    return f"{scale * value:{form}} {between(scale * low, scale * high, form)}"


def cell(value: str | float) -> str:
    """Write a cell of a history."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
