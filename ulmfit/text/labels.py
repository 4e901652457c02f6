"""Labels as they come, gathered batch by batch -> one array and the labels' names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ulmfit.errors import UserError, nearest
from ulmfit.text.cells import Label

_WHOLE = re.compile(r"-?\d+\.0+", re.ASCII)
_PLAIN = re.compile(r"-?\d+", re.ASCII)


@dataclass(frozen=True)
class Labels:
    """The labels of all documents, and the names that their codes stand for."""

    values: np.ndarray | None
    names: tuple[str, ...]
    notice: str = ""
    """What else is worth knowing of them."""


class LabelStore:
    """Collect the labels of a source: an integer for each distinct one, and which splits it was seen in."""

    def __init__(self, kind: str, named: Sequence[str] = ()) -> None:
        self.kind = kind
        self._named = tuple(named)  # kept in this order, whether a document has them or not
        self._codes: dict[Label, int] = {}
        self._parts: list[np.ndarray] = []
        self._seen: Counter[tuple[Label, str]] = Counter()
        self._same: dict[str, str] = {}  # spellings of whole numbers that give way to another

    def add(self, labels: Sequence[Label] | None, splits: Sequence[str]) -> None:
        """Take the labels of a batch."""
        if labels is None:
            return
        if self.kind == "number":
            self._parts.append(
                np.array([np.nan if label is None else label for label in labels], np.float32)
            )
            return
        codes = self._codes
        part = [-1 if label is None else codes.setdefault(label, len(codes)) for label in labels]
        self._parts.append(np.array(part, np.int32))
        self._seen.update(pair for pair in zip(labels, splits, strict=True) if pair[0] is not None)

    def finish(self, name: str) -> Labels:
        """Return all labels, refusing those that a classifier could not be trained on."""
        if self.kind == "none":
            return Labels(None, ())
        values = np.concatenate(self._parts) if self._parts else np.empty(0, np.int32)
        if self.kind == "number":
            return Labels(values, ())
        found = list(self._codes)
        if not self._named:
            self._same = same_numbers({n for label in found for n in self._names(label)})
        seen = {n for label in found for n in self._names(label)}
        names = list(self._named) or sorted(seen, key=_natural)
        self._refuse(names, name)
        code_of = {n: i for i, n in enumerate(names)}
        if self.kind == "category":
            codes = [code_of[n] for label in found for n in self._names(label)]
            table = np.array([*codes, -1], np.int32)  # the last one is for no label
        else:
            table = np.zeros((len(found) + 1, len(names)), np.int8)
            table[-1] = -1
            for row, label in zip(table, found, strict=False):
                row[[code_of[n] for n in self._names(label)]] = 1
        return Labels(table[values], tuple(names), said_of(self._same, name))

    def _names(self, label: Label) -> tuple[str, ...]:
        names = label if isinstance(label, tuple) else (str(label),)
        return tuple(self._same.get(name, name) for name in names)

    def _refuse(self, names: list[str], name: str) -> None:
        """Stop at a single label, and at labels of other splits that the training split does not have."""
        if not names:
            raise UserError(
                f"{name}: no document has a label, and a classifier learns from them; for text alone pass --label none"
            )
        if len(names) < 2 and self.kind == "category":
            raise UserError(
                f"{name}: all labelled documents are {names[0]!r}, and a classifier needs two labels; for text alone pass --label none"
            )
        known = {n for label, split in self._seen if split == "train" for n in self._names(label)}
        for label, split in self._seen if known else ():
            for n in self._names(label):
                if n not in known:
                    count = sum(
                        c
                        for (other, s), c in self._seen.items()
                        if s == split and n in self._names(other)
                    )
                    raise UserError(
                        f"{name}: label {n!r} of {count} document(s) in split {split} is unknown to split train: "
                        f"correct it or drop these rows; {nearest(n, sorted(known))}"
                    )


def plain_number(name: str) -> str:
    """Write a whole number without its point."""
    return name.partition(".")[0] if _WHOLE.fullmatch(name) else name


def same_numbers(names: Collection[str]) -> dict[str, str]:
    """Take 1.0 for 1, as pandas writes whole numbers of a column with gaps and of one without.

    Where some stand there without the point and all are whole numbers, all are taken so: 2.0 beside 1 is 2.
    """
    whole = {name: plain_number(name) for name in names if _WHOLE.fullmatch(name)}
    rest = [name for name in names if name not in whole]
    mixed = bool(rest) and all(_PLAIN.fullmatch(name) for name in rest)
    return {name: short for name, short in whole.items() if mixed or short in names}


def said_of(same: Mapping[str, str], source: str) -> str:
    """Say which labels count as one; nothing where none do."""
    pairs = sorted(f"{long!r} and {short!r}" for long, short in same.items())
    shown = ", ".join(pairs[:3]) + (", ..." if len(pairs) > 3 else "")
    return f"labels of {source} that are the same number count as one: {shown}" if pairs else ""


def _natural(name: str) -> tuple[tuple[bool, int, str], ...]:
    """Sort numbers in names by their value, 2 before 10, and before words."""
    parts = [part for part in re.split(r"(\d+)", name) if part]
    # Of two numbers the one with more digits is larger; int() refuses very long ones.
    digits = [part.lstrip("0") if part.isdecimal() else "" for part in parts]
    return tuple((not p.isdecimal(), len(d), d or p) for p, d in zip(parts, digits, strict=True))
