"""Rows of any source with all that stands in them, as a stream: for answers beside the texts they belong to.

In: a file, a folder, a data set, or the lines of stdin. Out: rows in their order, those without text included.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

from ulmfit.config import TextConfig
from ulmfit.errors import UserError
from ulmfit.text.cells import to_text
from ulmfit.text.documents import Part, Source
from ulmfit.text.folders import FolderTable
from ulmfit.text.sources import open_source
from ulmfit.text.streams import LIMIT_BYTES, BadByte, not_utf8, too_long
from ulmfit.text.table import row_numbers

FILE = "file"  # the column that stands for the text of a folder's documents


@dataclass(frozen=True)
class Row:
    """One document with everything that is known of it."""

    texts: tuple[str, ...]
    """One for each text column; "" where there is none."""
    cells: tuple[object, ...]
    """As the source has them, in the order of the columns."""


class Rows:
    """The rows of a source, which are read when they are asked for.

    Texts stand in the columns that are `usual`, where a table has those or lacks the ones that the source names.
    """

    def __init__(self, source: Source, usual: Sequence[str] = ()) -> None:
        self.name = source.name
        for part in source.parts:
            if isinstance(part.table, FolderTable):
                part.table.take_all()
        self._parts = tuple(_in_columns(part, tuple(usual)) for part in source.parts)
        for part in self._parts:
            part.check([])
        first, *others = [_columns(part) for part in self._parts]
        self.columns = tuple(c for c in first if all(c in other for other in others))

    def __iter__(self) -> Iterator[Row]:
        for part in self._parts:
            yield from self._read(part)

    def _read(self, part: Part) -> Iterator[Row]:
        table, n = part.table, len(part.text)
        files = isinstance(table, FolderTable)
        rest = self.columns[1:] if files else self.columns
        for number, cells in enumerate(table.rows([*part.text, *rest]), 1):
            try:
                texts = tuple(map(to_text, cells[:n]))
            except ValueError as error:
                raise UserError(f"{table.name}, {table.where(number)}: {error}") from None
            known = (table.where(number),) if files else ()
            yield Row(texts, (*known, *cells[n:]))


def texts_of(
    source: str | Path,
    *,
    text: str | Sequence[str] = "text",
    columns: Sequence[str] | None = None,
    data_dir: str | Path | None = None,
) -> Source:
    """Open a source of texts alone by its path or name, as `open_source` does; the empty ones are kept."""
    keep = TextConfig(on_empty="keep")
    return open_source(
        source, text=text, label=None, data_dir=data_dir, columns=columns, config=keep
    )


def lines_of(stream: BinaryIO, name: str = "stdin") -> Source:
    """Take the lines of a stream for texts; an empty line is an empty text."""
    return Source(name, (Part(_LinesTable(stream, name), ("text",), None),))


class _LinesTable:
    """Lines as rows of one column. They can be read once."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self.name = name
        self._stream = stream

    def columns(self) -> list[str]:
        return ["text"]

    def rows(self, names: Sequence[str]) -> Iterator[Sequence[object]]:
        offset = 0
        read_line = partial(self._stream.readline, LIMIT_BYTES + 1)
        for number, line in enumerate(iter(read_line, b""), 1):
            if len(line) > LIMIT_BYTES:
                raise too_long(f"{self.name}, line {number}")
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                place = BadByte(offset + error.start)
                raise not_utf8(self.name, f"line {number}", place) from None
            offset += len(line)
            yield (text.removesuffix("\n").removesuffix("\r"),) * len(names)

    def where(self, *rows: int) -> str:
        return row_numbers(*rows)

    def content_hash(self, names: Sequence[str]) -> str:
        raise UserError(f"{self.name} can be read only once")


def _in_columns(part: Part, usual: tuple[str, ...]) -> Part:
    """Take the texts from the usual columns, if they are there, or if the named ones are not."""
    columns = part.table.columns()
    has_usual = all(name in columns for name in usual)
    lacks_named = any(name not in columns for name in part.text)
    return replace(part, text=usual) if usual and (has_usual or lacks_named) else part


def _columns(part: Part) -> list[str]:
    """Name the columns to keep; of a folder the file stands for the text, which would fill the table."""
    columns = list(part.table.columns())
    if twice := [name for name in columns if columns.count(name) > 1]:
        raise UserError(f"{part.table.name} has {columns.count(twice[0])} columns {twice[0]!r}: rename all but one, so that none is lost")  # fmt: skip
    if not isinstance(part.table, FolderTable):
        return columns
    return [FILE, *(name for name in columns if name not in part.text)]
