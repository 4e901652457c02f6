"""Published figures as data, each with its source: what a reproduction is measured against.

In: targets.csv beside this file, a row a figure, with the value as it was printed. Out: frozen `Target`s.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path

OURS = "ULMFiT"  # the row of a finished classifier on a whole training set, to be compared with one of ours
_FILE = Path(__file__).with_name("targets.csv")


@dataclass(frozen=True)
class Target:
    """One published figure."""

    source: str
    table: str
    """Number of the table in Howard & Ruder 2018; empty for any other source."""
    row: str
    """The system, in the words of the source; `OURS` where it is a finished ULMFiT."""
    dataset: str
    """Its name in ulmfit.text.datasets.DATASETS, where it has one."""
    metric: str
    """error_percent, accuracy_percent, accuracy, f1, valid_loss, token_accuracy or perplexity."""
    value: str
    """As printed, digits included."""
    direction: str
    """forward, backward or both; empty for what is not a ULMFiT."""
    split: str
    """The documents that were answered: test or valid."""
    protocol: str
    """transductive (the language model read the test texts), as_published (they chose the model, too), or in words."""

    @property
    def error(self) -> float | None:
        """The share of wrong answers; None of a figure that says something else."""
        value = Decimal(self.value)
        shares = {
            "error_percent": value / 100,
            "accuracy_percent": 1 - value / 100,
            "accuracy": 1 - value,
        }
        return float(shares[self.metric]) if self.metric in shares else None


@cache
def targets() -> tuple[Target, ...]:
    """Read all published figures."""
    with open(_FILE, encoding="utf-8", newline="") as file:
        return tuple(Target(**row) for row in csv.DictReader(file, strict=True))


def finished(dataset: str) -> tuple[Target, ...]:
    """Give the figures of finished ULMFiT classifiers on a data set's test split."""
    rows = (t for t in targets() if (t.row, t.dataset, t.split) == (OURS, dataset, "test"))
    return tuple(t for t in rows if t.error is not None)


def ablation(table: int, dataset: str) -> dict[str, Target]:
    """Give the rows of one of the paper's tables 4 to 7, by name; empty for a data set it has no column for."""
    return {t.row: t for t in targets() if (t.table, t.dataset) == (str(table), dataset)}
