"""One pass over a source that remembers what a check needs, in memory that does not hold the texts.

In: a `Source`. Out: a `Survey`: counts, 8-byte hashes of texts, and a random sample of each split.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING

from ulmfit.text.labels import plain_number, said_of, same_numbers
from ulmfit.text.rules import CONTROL_TOKENS, UNK

if TYPE_CHECKING:
    from ulmfit.text.cells import Label
    from ulmfit.text.document_batches import Documents
    from ulmfit.text.documents import Source
    from ulmfit.text.table import Table

SAMPLE = 1250  # documents of each split: at most 5,000 in all
NAMED = 3  # examples that a finding names
_ROW_BITS = 40
_TYPED = [token for token in CONTROL_TOKENS if token != UNK]  # a typed xxunk is what it says
_CONTROL = re.compile(rf"(?<!\w)(?:{'|'.join(_TYPED)})(?!\w)", re.IGNORECASE)
_TAG = re.compile(r"</?[a-z][^<>\n]{0,200}>", re.IGNORECASE)
_REPAIRED_TAGS = {"<br />", "<unk>"}  # the fastai rules know what these mean


@dataclass
class SplitSurvey:
    """What was seen of one split."""

    n_documents: int = 0
    n_repeated: int = 0
    repeated: list[tuple[int, int]] = field(default_factory=list)
    """The places of the first few repeated documents, each with that of the one it repeats."""
    hashes: dict[int, int] = field(default_factory=dict)
    """The hash of each different text, and the place of its first document."""
    first_labels: dict[int, tuple[Label, int]] = field(default_factory=dict)
    """The hash of each different text, with the label and the place of the first document of it that has one."""
    contradicting: list[tuple[int, int]] = field(default_factory=list)
    """The first few documents with another label than one of the same text, as in `repeated`."""
    n_contradicting: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    sample: list[str] = field(default_factory=list)


@dataclass
class Survey:
    """What was seen of a whole source."""

    name: str
    label_kind: str
    splits: dict[str, SplitSurvey] = field(default_factory=lambda: defaultdict(SplitSurvey))
    n_control: int = 0
    """Documents in which a control token is typed."""
    n_html: int = 0
    """Documents with HTML tags other than a line break."""
    first_html: str = ""
    notices: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)

    @property
    def n_documents(self) -> int:
        """Documents of all splits."""
        return sum(split.n_documents for split in self.splits.values())

    def pairs(self, places: Iterable[tuple[int, int]], sign: str) -> str:
        """Word pairs of places."""
        return ", ".join(f"{self._where(one)} {sign} {self._where(two)}" for one, two in places)

    def _where(self, place: int) -> str:
        """Word a place, which is the number of a table and of a row in it."""
        table = self.tables[place >> _ROW_BITS]
        row = table.where(place & ((1 << _ROW_BITS) - 1))
        if len(self.tables) == 1:
            return row
        return table.name + row if table.name.endswith("/") else f"{table.name} {row}"

    def labels(self) -> Counter[str]:
        """Count the labels of all splits."""
        return sum((split.labels for split in self.splits.values()), Counter())

    def sample(self, splits: Iterable[str]) -> list[str]:
        """Return the sampled texts of some splits."""
        return [text for name in splits if name in self.splits for text in self.splits[name].sample]

    def is_whole(self, splits: Iterable[str]) -> bool:
        """Tell whether the sample of these splits is all of their documents."""
        return all(
            self.splits[name].n_documents <= SAMPLE for name in splits if name in self.splits
        )


def survey(source: Source) -> Survey:
    """Read a source once."""
    seen = Survey(source.name, source.label_kind)
    chance = random.Random(0)
    for batch in source.batches():
        _add(seen, batch, chance)
    if "train" in seen.splits:  # a column of labels counts, even if no document has its label
        seen.splits["train"].labels.update(dict.fromkeys(source.named_labels, 0))
    same = {} if source.named_labels else same_numbers(seen.labels())
    for split in seen.splits.values():
        split.labels = _joined(split.labels, same)
    seen.notices = [*source.notices, *filter(None, [said_of(same, source.name)])]
    return seen


def _joined(labels: Counter[str], same: Mapping[str, str]) -> Counter[str]:
    found: Counter[str] = Counter()
    for name, n in labels.items():
        found[same.get(name, name)] += n
    return found


def _add(seen: Survey, batch: Documents, chance: random.Random) -> None:
    if not seen.tables or seen.tables[-1] is not batch.table:
        seen.tables.append(batch.table)
    labels = batch.labels if batch.labels is not None else [None] * len(batch.splits)
    for row, texts, label, split in zip(batch.rows, zip(*batch.fields), labels, batch.splits):
        text = "\n".join(texts)
        part = seen.splits[split]
        part.n_documents += 1
        _add_sample(part, text, chance)
        _add_label(part, label)
        place = (len(seen.tables) - 1) << _ROW_BITS | row
        _add_hash(part, text, label, place)
        seen.n_control += "xx" in text.lower() and _CONTROL.search(text) is not None
        if "<" in text and (tags := [t for t in _TAG.findall(text) if t not in _REPAIRED_TAGS]):
            seen.n_html += 1
            seen.first_html = seen.first_html or tags[0]


def _add_sample(part: SplitSurvey, text: str, chance: random.Random) -> None:
    """Keep every document seen so far with the same probability (reservoir sampling)."""
    if len(part.sample) < SAMPLE:
        part.sample.append(text)
    elif (place := chance.randrange(part.n_documents)) < SAMPLE:
        part.sample[place] = text


def _add_label(part: SplitSurvey, label: Label) -> None:
    if label is None:
        return
    part.labels.update(label if isinstance(label, tuple) else (str(label),))


def _add_hash(part: SplitSurvey, text: str, label: Label, place: int) -> None:
    if not text or text.isspace():  # kept empty documents are no copies of each other
        return
    key = int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
    first = part.hashes.setdefault(key, place)
    if first != place:
        part.n_repeated += 1
        if len(part.repeated) < NAMED:
            part.repeated.append((place, first))
    if label is None:
        return
    label = plain_number(label) if isinstance(label, str) else label
    first_label, labelled = part.first_labels.setdefault(key, (label, place))
    if label != first_label:
        part.n_contradicting += 1
        if len(part.contradicting) < NAMED:
            part.contradicting.append((place, labelled))
