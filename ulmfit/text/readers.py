"""Tables: CSV, TSV, JSONL and Parquet files as rows of cells, read as a stream. In: a path. Out: a `Table`.

A row number counts data rows from 1, the way a user sees them; the header line has none.
"""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Generator, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ulmfit.errors import UserError
from ulmfit.files import hash_file
from ulmfit.text.cells import whole_characters
from ulmfit.text.streams import (
    COMPRESSED,
    LIMIT_BYTES,
    BadByte,
    bare_name,
    lines,
    not_utf8,
    readable,
    too_long,
)

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

_PARQUET_ROWS = 2000
_INNER_KEPT = 1 << 14  # lines inside of rows, and characters of the row that they may come from


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


class CsvTable(FileTable):
    """A delimited file; `columns` names the columns of a file without header line."""

    def __init__(
        self, path: Path, delimiter: str = ",", columns: Sequence[str] | None = None
    ) -> None:
        super().__init__(path)
        self._delimiter = delimiter
        self._given = list(columns) if columns else None
        self.inner: list[tuple[int, dict[str, str]]] = []
        """Of the rows read last: lines within a row that would be rows themselves, beside its number."""

    def read_columns(self) -> list[str]:
        """Return the names of the columns."""
        first = next(self._records(0), None)
        if first is None:
            raise UserError(f"{self.path} is empty: nothing to read")
        self._check_delimiter(first)
        return self._given or first

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

    def _records(self, first_row: int) -> Iterator[list[str]]:
        """Parse the whole file, blank lines left out; the first record has the number `first_row`."""
        csv.field_size_limit(max(csv.field_size_limit(), LIMIT_BYTES))
        row = first_row
        try:
            rows = _BoundedRows(self.path)
            for record in csv.reader(rows, delimiter=self._delimiter, strict=True):
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
        marks = [mark for mark in "|\t;," if mark in first and mark != self._delimiter]
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

    def _check_delimiter(self, first: list[str]) -> None:
        if self._delimiter != "," or len(first) > 1 or (self._given and len(self._given) == 1):
            return
        if "\t" in first[0]:
            raise UserError(f"{self.path} is separated by tabs, not commas: name it .tsv")
        if ";" in first[0]:
            raise UserError(f"{self.path} is separated by ';', not by commas: save it with commas, or with tabs as .tsv")  # fmt: skip


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


class JsonLinesTable(FileTable):
    """One JSON object a line; a key that a row lacks is a missing cell."""

    def read_columns(self) -> list[str]:
        """Return the names of all keys, wherever they come first: what is not looked for here is lost."""
        names = dict.fromkeys(key for record in self._records() for key in record)
        if not names:
            raise UserError(f"{self.path} is empty: nothing to read")
        return list(names)

    def rows(self, names: Sequence[str]) -> Iterator[Sequence[object]]:
        """Yield the cells of the columns `names`, row by row."""
        for record in self._records():
            yield [record.get(name) for name in names]

    def _records(self) -> Iterator[dict[str, object]]:
        row = 1
        try:
            for number, line in enumerate(lines(self.path), 1):
                if line.strip():
                    yield self._parse(line, number, row)
                    row += 1
        except BadByte as error:
            raise not_utf8(self.path, self.where(row), error) from None

    def _parse(self, line: str, number: int, row: int) -> dict[str, object]:
        place = f"{self.path}, {self.where(row)} (line {number})"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(
                f"{place}: not valid JSON ({error}); every line is one whole object"
            ) from None
        if not isinstance(record, dict):
            raise UserError(
                f'{place}: a {type(record).__name__} where an object such as {{"text": ...}} is needed'
            )
        return record


class ParquetTable(FileTable):
    """A Parquet file, read a few row groups at a time."""

    def read_columns(self) -> list[str]:
        """Return the names of the columns."""
        with self._open() as file:
            return list(file.schema_arrow.names)

    def rows(self, names: Sequence[str]) -> Iterator[Sequence[object]]:
        """Yield the cells of the columns `names`, row by row."""
        wanted = list(dict.fromkeys(names))
        with self._open() as file:
            for batch in file.iter_batches(batch_size=_PARQUET_ROWS, columns=wanted):
                cells = {name: batch.column(name).to_pylist() for name in wanted}
                yield from zip(*(cells[name] for name in names))

    @contextlib.contextmanager
    def _open(self) -> Generator[ParquetFile]:
        try:
            from pyarrow import parquet
        except ImportError:
            raise UserError(
                f"{self.path}: reading Parquet needs one more package: pip install 'ulmfit[data]'"
            ) from None
        try:
            with parquet.ParquetFile(self.path) as file:
                yield file
        except Exception as error:  # a damaged file raises whatever its bytes happen to mean
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise UserError(
                f"{self.path} is damaged or not a Parquet file ({reason}): fetch it again"
            ) from error


def is_table(path: Path) -> bool:
    """Tell by its name whether a file holds rows."""
    return _suffix(path) in (".csv", ".tsv", ".tab", ".jsonl", ".ndjson", ".parquet")


def _suffix(path: Path) -> str:
    return Path(bare_name(path)).suffix


def open_table(path: Path, *, columns: Sequence[str] | None = None) -> Table:
    """Choose the reader of a file by its name."""
    suffix = _suffix(path)
    if suffix == ".csv":
        return CsvTable(path, columns=columns)
    if suffix in (".tsv", ".tab"):
        return CsvTable(path, "\t", columns)
    if suffix in (".jsonl", ".ndjson"):
        return JsonLinesTable(path)
    if suffix == ".parquet" and not path.name.lower().endswith(COMPRESSED):
        return ParquetTable(path)
    known = (
        ".csv, .tsv, .jsonl (each also .gz, .xz, .bz2, .zst), .parquet, .txt or a folder of .txt"
    )
    raise UserError(f"{path}: no reader for this kind of file; there is: {known}")
