"""JSONL and Parquet files as rows of cells, read as a stream, and the reader of a file by its name. In: a path. Out: a `Table`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ulmfit.errors import UserError
from ulmfit.text.csv_table import CsvTable
from ulmfit.text.streams import COMPRESSED, BadByte, bare_name, lines, not_utf8
from ulmfit.text.table import FileTable, Table

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

_PARQUET_ROWS = 2000


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
