"""Tables that are in memory already: a pandas DataFrame, and a list or Series of texts. Out: a `Table` as of a file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ulmfit.errors import UserError
from ulmfit.text.table import row_numbers

if TYPE_CHECKING:
    from pandas import DataFrame

_SLICE_ROWS = 2000


class FrameTable:
    """A DataFrame; its index does not matter, row 1 is the first one."""

    name = "DataFrame"

    def __init__(self, frame: DataFrame) -> None:
        self._frame = frame

    def columns(self) -> list[str]:
        """Return the names of the columns."""
        return [str(column) for column in self._frame.columns]

    def rows(self, names: Sequence[str]) -> Iterator[Sequence[object]]:
        """Yield the cells of the columns `names`, row by row."""
        columns = self.columns()
        picked = [self._frame.iloc[:, columns.index(name)] for name in names]
        for start in range(0, len(self._frame), _SLICE_ROWS):
            yield from zip(
                *(
                    map(_plain, column.iloc[start : start + _SLICE_ROWS].tolist())
                    for column in picked
                )
            )

    def where(self, *rows: int) -> str:
        """Word the place of some rows for a message."""
        return row_numbers(*rows)

    def content_hash(self, names: Sequence[str]) -> str:
        """Hash the content of the columns `names`."""
        return hash_cells(self.rows(names), names)


def _plain(cell: Any) -> object:
    """Turn an array, as Parquet files have them for lists, into a list."""
    return cell.tolist() if getattr(cell, "ndim", 0) else cell


class ListTable:
    """Texts alone, in one column called `column`."""

    name = "list of texts"

    def __init__(self, texts: Sequence[object], column: str) -> None:
        self._texts = texts
        self._column = column

    def columns(self) -> list[str]:
        """Return the names of the columns."""
        return [self._column]

    def rows(self, names: Sequence[str]) -> Iterator[Sequence[object]]:
        """Yield the cells of the columns `names`, row by row."""
        for row, text in enumerate(self._texts, 1):
            if isinstance(text, (list, tuple, dict)):
                kind = type(text).__name__
                raise UserError(
                    f"{self.name}, row {row}: a {kind} where a string is needed; pass a DataFrame for labels"
                )
            yield (text,) * len(names)

    def where(self, *rows: int) -> str:
        """Word the place of some rows for a message."""
        return row_numbers(*rows)

    def content_hash(self, names: Sequence[str]) -> str:
        """Hash the content of the columns `names`."""
        return hash_cells(self.rows(names), names)


def hash_cells(rows: Iterator[Sequence[object]], columns: Sequence[str]) -> str:
    """Hash cells by what they print as, so that the same content gives the same hash in another process."""
    digest = hashlib.sha256(repr(tuple(columns)).encode("utf-8", "surrogatepass"))
    for cells in rows:
        digest.update(repr(tuple(cells)).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
