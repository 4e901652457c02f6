"""Rows of a delimited file, read as a stream. In: a path. Out: a `Table`; a broken row is one line with its number."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path

from ulmfit.errors import UserError
from ulmfit.text.streams import LIMIT_BYTES, BadByte, lines, not_utf8, too_long
from ulmfit.text.table import FileTable

_SEPARATORS = ",;\t|"
_INNER_KEPT = 1 << 14  # lines inside of rows, and characters of the row that they may come from


class CsvTable(FileTable):
    """A delimited file; `columns` names the columns of a file without header line."""

    def __init__(
        self, path: Path, delimiter: str = ",", columns: Sequence[str] | None = None
    ) -> None:
        super().__init__(path)
        self._delimiter = delimiter
        self._given = list(columns) if columns else None
        self.notice = ""
        """What is worth knowing of how the file is read, once its columns are known."""
        self.inner: list[tuple[int, dict[str, str]]] = []
        """Of the rows read last: lines within a row that would be rows themselves, beside its number."""

    def read_columns(self) -> list[str]:
        """Return the names of the columns."""
        if (mark := self._separator()) != self._delimiter:
            self.notice = f"{self.name} is separated by {mark!r}, and read so"
            self._delimiter = mark
        first = next(self._records(0), None)
        if first is None:
            raise UserError(f"{self.path} is empty: nothing to read")
        return self._given or first

    def _separator(self) -> str:
        """Where the first row is one cell, or has not as many as names are given, look for a mark that cuts two rows alike.

        Of marks that both do, a tab is none of a text's own.
        """
        n_given = len(self._given or ())
        own = self._delimiter
        if n_given == 1:  # then any mark is the text's
            return own
        for mark in dict.fromkeys(("\t" if n_given else own, own, *_SEPARATORS)):
            n_cells = [len(record) for record in itertools.islice(self._records(0, mark), 2)]
            is_usual = mark == own and not n_given and n_cells[:1] != [1]
            if is_usual or not n_cells:
                return own
            if n_cells[0] == n_cells[-1] == (n_given or max(n_cells[0], 2)):
                return mark
        return own

    def rows(self, names: Sequence[str]) -> Iterator[Sequence[object]]:
        """Yield the cells of the columns `names`, row by row."""
        columns = self.columns()
        records = self._records(1 if self._given else 0)
        if not self._given:
            next(records)
        places = [columns.index(name) for name in names]
        pick = itemgetter(*places) if len(places) > 1 else lambda record: (record[places[0]],)
        self.inner = []
        for row, record in enumerate(records, 1):
            if len(record) != len(columns):
                raise self.mistake(
                    row,
                    f"{len(record)} cells where the file has {len(columns)} columns; quote its text",
                )
            yield pick(record)

    def _records(self, first_row: int, mark: str | None = None) -> Iterator[list[str]]:
        """Parse the whole file, blank lines left out; the first record has the number `first_row`.

        With a `mark` to try as separator, quotes that are out of place are no error.
        """
        csv.field_size_limit(max(csv.field_size_limit(), LIMIT_BYTES))
        row = first_row
        try:
            rows = _BoundedRows(self.path)
            for record in csv.reader(rows, delimiter=mark or self._delimiter, strict=not mark):
                if len(rows.read) > 1:
                    self._keep_inner(row, _within(record, rows.read))
                rows.begin()
                if record:
                    yield record
                    row += 1
        except BadByte as error:
            raise not_utf8(self.path, self.where(row) if row else "header", error) from None
        except OverflowError:
            raise too_long(f"{self.path}, {self.where(row) if row else 'header'}") from None
        except csv.Error as error:
            reason = f"not a valid row ({error}); write a quote inside a quoted cell twice"
            if "new-line character" in str(error):
                reason = "a carriage return alone is no end of a line; save the file with line feeds, or both"
            raise self.mistake(row, reason) from None

    def doubt(self) -> str:
        """Say what else may be wrong with a header that lacks a column."""
        first, *others = self.columns()
        marks = [mark for mark in _SEPARATORS if mark in first and mark != self._delimiter]
        if marks and not others:
            return f"; its one column seems to be separated by {marks[0]!r}: save it with commas, or with tabs as .tsv"
        is_row = not self._given and any(" " in n.strip() or n.isdigit() for n in self.columns())
        return "; a file without header needs columns=, or --columns" if is_row else ""

    def _keep_inner(self, row: int, lines: list[str]) -> None:
        """Keep lines of a row that have all its cells."""
        for line in lines if len(self.inner) < _INNER_KEPT else ():
            cells = line.rstrip("\r\n").replace('"', "").split(self._delimiter)
            if len(cells) == len(self._columns):
                self.inner.append((row, dict(zip(self._columns, cells))))


def _within(record: list[str], lines: list[str]) -> list[str]:
    """Leave out the first and the last line of a row, unless they lie within its first and its last cell."""
    begins, ends = ("\n" in record[place] for place in (0, -1))
    return lines[0 if begins else 1 : None if ends else -1]


class _BoundedRows:
    """The lines of a file, until one row has too many: an open quote would swallow the whole file."""

    def __init__(self, path: Path) -> None:
        self._lines = lines(path)
        self.begin()

    def begin(self) -> None:
        """Begin a row."""
        self.read: list[str] = []
        self._n_characters = 0

    def __iter__(self) -> _BoundedRows:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        if self._n_characters < _INNER_KEPT:
            self.read.append(line)
        self._n_characters += len(line)
        if self._n_characters > LIMIT_BYTES:
            raise OverflowError
        return line
