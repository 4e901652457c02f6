"""Documents of one table in batches of bounded size. In: one document after the other. Out: `Documents`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ulmfit.text.cells import Label

if TYPE_CHECKING:
    from ulmfit.text.table import Table

BATCH_DOCUMENTS = 2000
BATCH_CHARACTERS = 4_000_000


@dataclass(frozen=True)
class Documents:
    """A batch of documents in the order of the source."""

    fields: tuple[list[str], ...]
    """One list of raw texts per text column."""
    labels: list[Label] | None
    """A name, a number or a tuple of names per document, None for one without label; None if there are no labels at all."""
    splits: list[str]
    """train, valid, test or unsup per document."""
    rows: list[int]
    """Where each document stands in the table."""
    table: Table


class Gathering:
    """Documents on their way into a batch."""

    def __init__(self, table: Table, n_fields: int, is_labelled: bool) -> None:
        self._table = table
        self._n_fields = n_fields
        self._is_labelled = is_labelled
        self._clear()

    def _clear(self) -> None:
        self.fields: tuple[list[str], ...] = tuple([] for _ in range(self._n_fields))
        self.labels: list[Label] = []
        self.splits: list[str] = []
        self.rows: list[int] = []
        self._characters = 0

    def add(self, row: int, texts: list[str], label: Label, split: str) -> None:
        """Append one document."""
        for column, text in zip(self.fields, texts):
            column.append(text)
            self._characters += len(text)
        self.labels.append(label)
        self.splits.append(split)
        self.rows.append(row)

    def is_full(self) -> bool:
        """Tell whether it is time to hand the batch out."""
        return len(self.splits) >= BATCH_DOCUMENTS or self._characters >= BATCH_CHARACTERS

    def flush(self) -> Documents:
        """Hand the batch out and begin the next one."""
        labels = self.labels if self._is_labelled else None
        done = Documents(self.fields, labels, self.splits, self.rows, self._table)
        self._clear()
        return done
