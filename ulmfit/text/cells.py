"""What one cell of a table means: missing, a text, a label, a split. In: a value of any reader. Out: a clean value.

A cell that means nothing raises ValueError with the reason; whoever knows the file and the row adds them.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real

from ulmfit.config import SPLITS

UNSUP = "unsup"
Label = str | float | tuple[str, ...] | None

SPLIT_NAMES: dict[str, str] = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("valid", "validation", "val", "dev", "development"), "valid"),
    **dict.fromkeys(("test", "testing", "tst", "eval"), "test"),
    **dict.fromkeys(("unsup", "unsupervised", "unlabeled", "unlabelled"), UNSUP),
}
_IS_VALID = {"true": "valid", "1": "valid", "false": "train", "0": "train"}
_LARGEST = (2 - 2**-23) * 2.0**127  # of the float32 that labels are kept as
_TRUE, _FALSE = ("1", "true", "yes"), ("0", "false", "no")


def is_missing(value: object) -> bool:
    """Tell whether a cell is None, NaN, NaT or pandas' NA."""
    if value is None or isinstance(value, str):
        return value is None
    if isinstance(value, Real):
        return bool(value != value)
    return type(value).__name__ in ("NAType", "NaTType")


def to_text(value: object) -> str:
    """Return the text of a cell, "" when it is missing; half surrogate pairs become U+FFFD."""
    return whole_characters(value if isinstance(value, str) else _scalar(value, "a text"))


def whole_characters(text: str) -> str:
    """Put U+FFFD for half surrogate pairs, which no file can hold."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _scalar(value: object, wanted: str) -> str:
    """Write a cell that is not a string as one: 1 and 1.0 are "1", a missing one is ""."""
    if is_missing(value):
        return ""
    if isinstance(value, (list, tuple, dict, set, bytes)):
        raise ValueError(f"expected {wanted}, found a {type(value).__name__}")
    if (
        isinstance(value, Real)
        and not isinstance(value, (bool, Integral))
        and float(value).is_integer()
    ):
        return str(int(float(value)))
    return str(value)


def to_split(value: object, *, column: str = "split") -> str:
    """Return train, valid, test or unsup for any of their usual names (fastai's is_valid column too)."""
    name = _scalar(value, "a split").strip().casefold()
    known = SPLIT_NAMES | (_IS_VALID if column == "is_valid" else {})
    if name not in known:
        raise ValueError(f"split is {reprlib.repr(value)}; allowed: {', '.join(SPLITS)}")
    return known[name]


@dataclass(frozen=True)
class LabelRule:
    """How the label cells of a row become one label."""

    columns: tuple[str, ...]
    kind: str
    """category, number or multi."""
    delim: str | None = None
    """Separator of the labels in one cell; multi without it means one 0/1 column per label."""
    names: Mapping[str, str] = field(default_factory=dict)
    """What the labels of an official file are called, e.g. "1" -> "World"."""

    @property
    def named(self) -> tuple[str, ...]:
        """The labels that the columns name, in their order; none where labels stand in the cells."""
        return self.columns if self.kind == "multi" and not self.delim else ()

    def read(self, cells: Sequence[object]) -> Label:
        """Return the label of a row, or None when it has none."""
        if self.kind == "multi":
            return self._split_cell(cells[0]) if self.delim else self._true_columns(cells)
        if self.kind == "number":
            return _number(cells[0])
        name = (
            cells[0]
            if isinstance(cells[0], str)
            else _scalar(cells[0], "a label (for several, see label_delim)")
        )
        name = whole_characters(name).strip()
        return self.names.get(name, name) if name else None

    def _split_cell(self, cell: object) -> tuple[str, ...] | None:
        """An empty cell of text holds none of the labels; a missing one is of a row that nobody has labelled."""
        if is_missing(cell):
            return None
        found = (
            cell if isinstance(cell, (list, tuple)) else _scalar(cell, "labels").split(self.delim)
        )
        names = [whole_characters(_scalar(name, "a label")).strip() for name in found]
        return tuple(dict.fromkeys(name for name in names if name))

    def _true_columns(self, cells: Sequence[object]) -> tuple[str, ...] | None:
        words = [_scalar(cell, "0 or 1").strip().casefold() for cell in cells]
        if not any(words):
            return None
        for column, word, cell in zip(self.columns, words, cells):
            if word not in _TRUE + _FALSE:
                raise ValueError(
                    f"label column {column!r} is {reprlib.repr(cell)}; allowed: 0 or 1"
                )
        return tuple(column for column, word in zip(self.columns, words) if word in _TRUE)


def _number(cell: object) -> float | None:
    text = _scalar(cell, "a number").strip()
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"label is {reprlib.repr(cell)}, not a number") from None
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"label is {reprlib.repr(cell)}, not a finite number")
    if abs(number) > _LARGEST:
        raise ValueError(f"label is {reprlib.repr(cell)}, beyond what 32 bits hold (3.4e38)")
    return number if number == number else None
