"""From tables to documents: which columns are used, what is dropped, and batches of bounded size.

In: tables and the columns that the user named. Out: a `Source`, which can be read as often as needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ulmfit.errors import UserError, nearest
from ulmfit.files import fingerprint
from ulmfit.text.cells import UNSUP, Label, LabelRule, to_split, to_text
from ulmfit.text.csv_table import CsvTable
from ulmfit.text.document_batches import Documents, Gathering
from ulmfit.text.folders import FolderTable
from ulmfit.text.seen_labels import SeenLabels
from ulmfit.text.table import Table

OPTIONAL_LABEL = "label"  # the default label column: a table without it is unlabelled
_LIKELY_LABELS = (
    "label", "labels", "class", "category", "target", "sentiment", "stars", "rating", "score", "topic", "y",
)  # fmt: skip
_LIKELY_SPLITS = ("split", "is_valid", "set", "fold")
_ROWS_NAMED = 5


@dataclass(frozen=True)
class Part:
    """One table and how it is read."""

    table: Table
    text: tuple[str, ...]
    label: LabelRule | None
    split: str | None = None
    """The column that says the split of a row."""
    whole_split: str | None = None
    """The split of every row; a folder called unsup inside stays unsup."""
    on_empty: str = "drop"

    def label_rule(self) -> LabelRule | None:
        """Return how labels are read, or None when the table has none."""
        if self.label is None or self.whole_split == UNSUP:
            return None
        is_optional = self.label.columns == (OPTIONAL_LABEL,)
        return None if is_optional and OPTIONAL_LABEL not in self.table.columns() else self.label

    def names(self) -> list[str]:
        """List the columns that are read: texts, labels, split."""
        rule = self.label_rule()
        return [*self.text, *(rule.columns if rule else ()), *([self.split] if self.split else [])]

    def check(self, notices: list[str]) -> None:
        """Refuse a named column that the table does not have; note what looks forgotten."""
        columns = self.table.columns()
        rule = self.label_rule()
        self._require("text", self.text, columns)
        self._require("label", rule.columns if rule else (), columns)
        self._require("split", (self.split,) if self.split else (), columns)
        names = self.names()
        if twice := [name for name in names if names.count(name) > 1]:
            raise UserError(f"{self.table.name}: column {twice[0]!r} is asked for twice: a column is text, label or split, and once")  # fmt: skip
        if self.label and not rule and self.whole_split != UNSUP:
            notices.append(self._unlabelled(columns))
        if isinstance(self.table, FolderTable) and (names := self.table.left_out):
            shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
            notices.append(f"{self.table.name}: left out as lists and notes, since they lie beside folders of labels: {len(names)} ({shown})")  # fmt: skip
        if isinstance(self.table, CsvTable) and self.table.notice:
            notices.append(self.table.notice)
        if not self.split and not self.whole_split:
            notices += [
                f"column {name!r} of {self.table.name} is not used: pass split={name!r} for its splits"
                for name in columns
                if name.strip().casefold() in _LIKELY_SPLITS and name not in self.names()
            ]

    def _unlabelled(self, columns: list[str]) -> str:
        likely = [
            n for n in columns if n.strip().casefold() in _LIKELY_LABELS and n not in self.text
        ]
        hint = f"; if it is {likely[0]!r}, pass label={likely[0]!r}" if likely else ""
        return (
            f"no column {OPTIONAL_LABEL!r} in {self.table.name}: its documents are unlabelled{hint}"
        )

    def _require(self, flag: str, names: Sequence[str], columns: list[str]) -> None:
        for name in names:
            if name not in columns:
                hint = f"{nearest(name, columns)} (choose with {flag}=, or --{flag})"
                more = self.table.doubt() if isinstance(self.table, CsvTable) else ""
                raise UserError(f"{self.table.name} has no column {name!r}: {hint}{more}")
            if columns.count(name) > 1:
                raise UserError(
                    f"{self.table.name} has {columns.count(name)} columns {name!r}: rename all but one"
                )

    def documents(self, notices: list[str], is_labelled: bool) -> Iterator[Documents]:
        """Yield the documents of the table, and afterwards note how many rows had no text or no label."""
        self.check(notices)
        rule, names = self.label_rule(), self.names()
        batch, empty, bare = Gathering(self.table, len(self.text), is_labelled), _Tally(), _Tally()
        seen = SeenLabels(rule) if rule and rule.kind != "number" else None
        for row, cells in enumerate(self.table.rows(names), 1):
            texts, label, split = self._read(rule, row, cells)
            if not any(text and not text.isspace() for text in texts):
                empty.add(row)
                if self.on_empty == "drop":
                    continue
            if seen:
                seen.add(cells[len(self.text) :], label)
            if rule and label is None and split != UNSUP:
                bare.add(row)
            if empty.count and self.on_empty == "error":
                continue  # nothing more is handed out, but all empty texts are counted
            batch.add(row, texts, label, split)
            if batch.is_full():
                yield batch.flush()
        self._report(empty, bare, notices)
        if seen:
            self._report_labels(seen, notices)
        if batch.splits:
            yield batch.flush()

    def _read(
        self, rule: LabelRule | None, row: int, cells: Sequence[object]
    ) -> tuple[list[str], Label, str]:
        """Interpret the cells of one row."""
        n = len(self.text)
        try:
            texts = [to_text(cell) for cell in cells[:n]]
            split = to_split(cells[-1], column=self.split) if self.split else "train"
            split = UNSUP if split == UNSUP else self.whole_split or split
            label = rule.read(cells[n : n + len(rule.columns)]) if rule and split != UNSUP else None
        except ValueError as error:
            raise UserError(f"{self.table.name}, {self.table.where(row)}: {error}") from None
        if label == UNSUP:  # how the IMDb release marks a review without label
            return texts, None, UNSUP
        return texts, label, split

    def _report(self, empty: _Tally, bare: _Tally, notices: list[str]) -> None:
        if empty.count and self.on_empty == "error":
            fix = "fill them in, or pass on_empty='drop' or 'keep'"
            raise UserError(f"{self.table.name}: {self._count(empty, 'empty text')}; {fix}")
        if empty.count:
            done = {"drop": "dropped", "keep": "kept"}[self.on_empty]
            notices.append(f"{done} {self._count(empty, 'empty text')} of {self.table.name}")
        if bare.count:
            notices.append(
                f"{self._count(bare, 'document')} of {self.table.name} without label outside the unsup split"
            )

    def _report_labels(self, seen: SeenLabels, notices: list[str]) -> None:
        if joined := seen.joined():
            shown = ", ".join(map(repr, joined[:3])) + (", ..." if len(joined) > 3 else "")
            notices.append(
                f"labels of {self.table.name} that only white space around them sets apart are one: {shown}"
            )
        if absent := seen.absent():
            notices.append(f"labels of {self.table.name} that may mean that there is none: {', '.join(map(repr, absent))}; they are kept as labels: empty the cells if nobody has labelled these documents")  # fmt: skip
        swallowed = _Tally()
        for row in seen.swallowed(self.table):
            swallowed.add(row)
        if swallowed.count:
            notices.append(f"{self._count(swallowed, 'text')} of {self.table.name} with lines that look like further rows: is a quote left open? write a quote inside a text twice, and the text in quotes")  # fmt: skip

    def _count(self, rows: _Tally, thing: str) -> str:
        more = ", ..." if rows.count > len(rows.first) else ""
        plural = "s" if rows.count > 1 else ""
        return f"{rows.count} {thing}{plural} ({self.table.where(*rows.first)}{more})"


class _Tally:
    """How many rows are worth a notice, and the first of them."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[int] = []

    def add(self, row: int) -> None:
        """Count one more row."""
        self.count += 1
        if len(self.first) < _ROWS_NAMED:
            self.first.append(row)


@dataclass
class Source:
    """Documents that can be read again and again; nothing is read before they are asked for."""

    name: str
    parts: tuple[Part, ...]
    remarks: tuple[str, ...] = ()
    """What is worth a notice whatever is read."""
    notices: list[str] = field(default_factory=list)
    """Human sentences about the latest reading, complete once `batches` is exhausted."""

    @property
    def label_kind(self) -> str:
        """none, category, multi or number."""
        kinds = {rule.kind for part in self.parts if (rule := part.label_rule())}
        if len(kinds) > 1:
            raise UserError(
                f"{self.name} mixes labels of kind {' and '.join(sorted(kinds))}: use one kind"
            )
        return kinds.pop() if kinds else "none"

    @property
    def named_labels(self) -> tuple[str, ...]:
        """The labels that columns of their own name, also those that no document has."""
        found = [name for part in self.parts if (rule := part.label_rule()) for name in rule.named]
        return tuple(dict.fromkeys(found))

    @property
    def n_fields(self) -> int | None:
        """How many texts make a document, if that is the same in all parts."""
        found = {len(part.text) for part in self.parts}
        return found.pop() if len(found) == 1 else None

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The columns of the texts, if they are the same in all tables."""
        found = {part.text for part in self.parts if not isinstance(part.table, FolderTable)}
        return found.pop() if len(found) == 1 else ()

    def batches(self) -> Iterator[Documents]:
        """Yield all documents in order, at most about 2,000 documents or 4 million characters at a time."""
        self.notices = list(self.remarks)
        is_labelled = self.label_kind != "none"
        n_documents = 0
        for part in self.parts:
            n_before = n_documents
            for batch in part.documents(self.notices, is_labelled):
                n_documents += len(batch.splits)
                yield batch
            if n_documents == n_before:
                self.notices.append(f"{part.table.name} holds no document with text")
        if not n_documents:
            raise UserError(f"{self.name} holds no document with text: nothing to read")

    def fingerprint(self) -> str:
        """Hash the content of the source and how it is read; where it lies does not matter."""
        how = []
        for part in self.parts:
            part.check([])
            rule, names = part.label_rule(), part.names()
            order = ["as named"] if rule and rule.named else []  # they were sorted once
            labels = (
                [rule.columns, rule.kind, rule.delim, dict(rule.names), *order] if rule else None
            )
            kind = type(part.table).__name__
            reading = [
                kind,
                part.table.columns(),
                part.text,
                labels,
                part.split,
                part.whole_split,
                part.on_empty,
            ]
            how.append([*reading, part.table.content_hash(names)])
        return fingerprint(how)
