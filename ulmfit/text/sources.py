"""What the user names, as a `Source` of documents: a data set, a file, a folder, a DataFrame, a list, or a dict of splits."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ulmfit.config import SPLITS, TextConfig
from ulmfit.errors import UserError, nearest
from ulmfit.text.cells import LabelRule, to_split
from ulmfit.text.csv_table import CsvTable
from ulmfit.text.datasets import DATASETS
from ulmfit.text.document_batches import Documents
from ulmfit.text.documents import OPTIONAL_LABEL, Part, Source
from ulmfit.text.folders import FolderTable, TextFileTable
from ulmfit.text.frames import FrameTable, ListTable
from ulmfit.text.locate import open_dataset
from ulmfit.text.readers import open_table
from ulmfit.text.streams import bare_name
from ulmfit.text.table import Table

if TYPE_CHECKING:
    from pandas import DataFrame, Series

    Raw = str | Path | DataFrame | Series | Sequence[str] | Mapping[str, "Raw"]

__all__ = ["Documents", "Source", "open_source"]


def open_source(
    source: Raw,
    *,
    text: str | Sequence[str] = "text",
    label: str | Sequence[str] | None = OPTIONAL_LABEL,
    split: str | None = None,
    data_dir: str | Path | None = None,
    columns: Sequence[str] | None = None,
    config: TextConfig = TextConfig(),
) -> Source:
    """Open whatever holds the texts.

    Several `label` columns are 0/1 columns of a multi-label task. The default label column may be missing; every
    other column that is named must exist; a column that is a number, as in a DataFrame without names, may be named by
    it. `columns` names the columns of a CSV file without header line.
    """
    asked = _Asked(_named(text), _named(label), _named(split), data_dir, _named(columns), config)
    opened = asked.open(source)
    asked.require_columns(opened)
    return opened


def _named(columns: Any) -> Any:
    """Turn a number, or the numbers among several names, into names."""
    if columns is None or isinstance(columns, str):
        return columns
    return tuple(map(str, columns)) if isinstance(columns, Iterable) else str(columns)


def _given(part: Part, name: str) -> Part:
    """Put a table into a split; a folder with splits of its own keeps them where it is given to learn from."""
    return part if name == "train" and part.split else replace(part, whole_split=name)


@dataclass(frozen=True)
class _Asked:
    """The arguments of `open_source`, for the parts of a dict to share."""

    text: str | Sequence[str]
    label: str | Sequence[str] | None
    split: str | None
    data_dir: str | Path | None
    columns: Sequence[str] | None
    config: TextConfig

    def open(self, source: Raw) -> Source:
        """Open one source in this way."""
        if isinstance(source, Mapping):
            return self._open_splits(source)
        if isinstance(source, str) and source in DATASETS:
            return self._open_dataset(source)
        table = self._table(source)
        if self.columns and not isinstance(table, CsvTable):
            raise UserError(
                f"columns names the columns of a CSV file without header line; {table.name} is none"
            )
        return Source(table.name, (self._part(table),))

    def require_columns(self, opened: Source) -> None:
        """Refuse to look for labels and splits in texts alone."""
        is_named = self.split or self.label not in (OPTIONAL_LABEL, None)
        if is_named and all(isinstance(part.table, ListTable) for part in opened.parts):
            raise UserError(
                "a list of texts has no columns: leave label and split out, or pass a DataFrame that has them"
            )

    def _open_splits(self, sources: Mapping[str, Raw]) -> Source:
        if self.split:
            raise UserError(
                f"split={self.split!r} and further splits contradict each other: leave split out, or name all "
                "splits in that column"
            )
        opened = []
        for key, source in sources.items():
            try:
                name = to_split(key)
            except ValueError as error:
                raise UserError(f"dict of sources: {error}") from None
            if isinstance(source, Mapping) or _is_dataset(source):
                raise UserError(
                    f"dict of sources: {key!r} must be a file, a folder, a DataFrame or a list"
                )
            part = self.open(source)
            opened.append((part.name, [_given(p, name) for p in part.parts]))
        if not opened:
            raise UserError(
                f"the dict of sources is empty: give at least one of {', '.join(SPLITS)}"
            )
        names = dict.fromkeys(name for name, _ in opened)
        return Source(" + ".join(names), tuple(part for _, parts in opened for part in parts))

    def _open_dataset(self, name: str) -> Source:
        if (self.text, self.split, self.columns) != ("text", None, None) or self.label not in (
            OPTIONAL_LABEL,
            None,
        ):
            raise UserError(
                f"the data set {name!r} names its own columns: leave text, label, split and columns out"
            )
        return open_dataset(
            name, data_dir=self.data_dir, is_labelled=self.label is not None, config=self.config
        )

    def _table(self, source: Raw) -> Table:
        pandas = sys.modules.get("pandas")  # whoever passes a DataFrame has imported it
        if pandas and isinstance(source, pandas.DataFrame):
            return FrameTable(source)
        if isinstance(source, (str, Path)):
            return self._file_table(Path(source))
        to_list = getattr(source, "tolist", None)  # a Series, an array
        texts = to_list() if to_list else source
        if isinstance(texts, Sequence) and not isinstance(texts, (str, bytes)):
            return ListTable(texts, self._text_names()[0])
        kind = type(source).__name__
        raise UserError(
            f"cannot read documents from a {kind}: pass a path, a DataFrame, a list of texts or a dict"
        )

    def _file_table(self, path: Path) -> Table:
        _require_path(path)
        if path.is_dir():
            return FolderTable(path)
        return (
            TextFileTable(path)
            if bare_name(path).endswith(".txt")
            else open_table(path, columns=self.columns)
        )

    def _text_names(self) -> tuple[str, ...]:
        names = (self.text,) if isinstance(self.text, str) else tuple(self.text)
        if not names:
            raise UserError("text is empty: name at least one text column")
        return names

    def _part(self, table: Table) -> Part:
        is_list, is_folder = isinstance(table, ListTable), isinstance(table, FolderTable)
        split = "split" if is_folder else self.split
        names = self._text_names()
        rule = None if is_list else self._label_rule()
        return Part(
            table,
            ("text",) if is_folder and len(names) == 1 else names,  # whatever tables call it
            rule,
            None if is_list else split,
            on_empty=self.config.on_empty,
        )

    def _label_rule(self) -> LabelRule | None:
        if self.label is None:
            return None
        delim, is_number = self.config.label_delim, self.config.label_kind == "number"
        is_single = isinstance(self.label, str)
        if is_number and (delim or not is_single):
            raise UserError("label_kind='number' takes one label column and no label_delim")
        if delim and not is_single:
            raise UserError(
                "label_delim splits the cells of one label column: name one, or leave label_delim out"
            )
        if is_single:
            return LabelRule((self.label,), "multi" if delim else self.config.label_kind, delim)
        if not self.label:
            raise UserError(
                "label is empty: name label columns, or pass label=None for unlabelled documents"
            )
        return LabelRule(tuple(self.label), "multi")


def _is_dataset(source: Raw) -> bool:
    """Tell the name of a data set from a path, which a command line gives as such, and that may exist."""
    if isinstance(source, Path):
        return str(source) in DATASETS and not source.exists()
    return isinstance(source, str) and source in DATASETS


def _require_path(path: Path) -> None:
    """Refuse a path that does not exist, and offer what was probably meant."""
    try:
        if path.exists():
            return
        beside = path.parent.iterdir() if path.parent.is_dir() else ()
        neighbours = sorted(p.name for p in beside if not p.name.startswith("."))
    except OSError:  # a name that is too long or not allowed: a text, perhaps
        raise UserError(
            f"{str(path)[:60]!r}... is not a path; pass a list of texts, or a file"
        ) from None
    if path.parent == Path():
        neighbours = [*DATASETS, *neighbours]
    raise UserError(f"no file, folder or data set {str(path)!r}: {nearest(path.name, neighbours)}")
