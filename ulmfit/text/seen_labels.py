"""What the label cells of one table tell when all of it is read: names that only white space sets apart, and rows inside of others.

In: the label cells of each row, and the label that was read from them. Out: names, and numbers of rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ulmfit.text.cells import Label, LabelRule
from ulmfit.text.csv_table import CsvTable
from ulmfit.text.table import Table

ABSENT = ("na", "n/a", "#n/a", "nan", "<na>", "null", "none")


class SeenLabels:
    """The distinct labels of a table, and how they are spelt."""

    def __init__(self, rule: LabelRule) -> None:
        self._rule = rule
        self._labels: set[Label] = set()
        self._spelt: set[str] = set()

    def add(self, cells: Sequence[object], label: Label) -> None:
        """Note the label of a row."""
        if label is None:
            return
        self._labels.add(label)
        if self._rule.kind == "category" and isinstance(cells[0], str):
            self._spelt.add(cells[0])

    def joined(self) -> list[str]:
        """List the labels that are spelt with more than one white space around them."""
        times = Counter(name.strip() for name in self._spelt)
        return sorted(name for name, n in times.items() if n > 1)

    def absent(self) -> list[str]:
        """List the labels that other programs read as a missing cell."""
        return sorted(name for name in self._spelt if name.strip().casefold() in ABSENT)

    def swallowed(self, table: Table) -> list[int]:
        """List the rows whose text has a line with all cells of a row, and a label of others among them."""
        inner = table.inner if isinstance(table, CsvTable) else ()
        return list(
            dict.fromkeys(row for row, line in inner if self._label_in(line) in self._labels)
        )

    def _label_in(self, line: dict[str, str]) -> Label:
        try:
            return self._rule.read([line[column] for column in self._rule.columns])
        except ValueError:
            return None
