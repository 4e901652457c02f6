"""What a table is to whoever reads one. Rows are counted from 1, the way a user sees them; a header line has no number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from ulmfit.errors import UserError
from ulmfit.files import hash_file
from ulmfit.text.cells import whole_characters
from ulmfit.text.streams import readable


class Table(Protocol):
    """Rows that can be read again and again."""

    name: str

    def columns(self) -> list[str]:
        """Return the names of the columns."""

    def rows(self, names: Sequence[str]) -> Iterator[Sequence[object]]:
        """Yield the cells of the columns `names`, row by row."""

    def where(self, *rows: int) -> str:
        """Word the place of some rows for a message."""

    def content_hash(self, names: Sequence[str]) -> str:
        """Hash the content of the columns `names`, or all there is."""


def row_numbers(*rows: int) -> str:
    """Write "row 5" or "rows 5, 9, 12"."""
    return ("row " if len(rows) == 1 else "rows ") + ", ".join(str(row) for row in rows)


class FileTable:
    """What the readers of one file share."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = whole_characters(path.name)
        self._columns: list[str] = []

    def columns(self) -> list[str]:
        """Return the names of the columns, which are read once."""
        self._columns = self._columns or self.read_columns()
        return self._columns

    def read_columns(self) -> list[str]:
        """Return the names of the columns, read from the file."""
        raise NotImplementedError

    def where(self, *rows: int) -> str:
        """Word the place of some rows for a message."""
        return row_numbers(*rows)

    def content_hash(self, names: Sequence[str]) -> str:
        """Hash all bytes of the file."""
        with readable(self.path):
            return hash_file(self.path)

    def mistake(self, row: int, reason: str) -> UserError:
        """Word an error in one row; row 0 is the header."""
        return UserError(f"{self.path}, {self.where(row) if row else 'header'}: {reason}")
