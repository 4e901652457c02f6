"""What has to be known of all documents before their ids can be written: lengths, splits, and counts of tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ulmfit.config import SPLITS
from ulmfit.text.chunks import Growing
from ulmfit.text.document_batches import Documents
from ulmfit.text.manifest import SplitSummary
from ulmfit.text.parts import Part
from ulmfit.text.spans import Coded

_NEVER = np.iinfo(np.int64).max


class Tally:
    """Count tokens by split, and remember where each was seen first."""

    def __init__(self) -> None:
        self._lengths, self._splits, self._characters = (
            Growing(np.int64),
            Growing(np.uint8),
            Growing(np.uint32),
        )
        self.n_tokens = 0
        self._begin()

    def add(self, documents: Documents, coded: Coded) -> None:
        """Count a batch of documents."""
        splits = np.array([SPLITS.index(split) for split in documents.splits], np.uint8)
        sizes = [sum(map(len, fields)) for fields in zip(*documents.fields, strict=True)]
        self._lengths.extend(coded.lengths)
        self._splits.extend(splits)
        self._characters.extend(np.array(sizes, np.uint32))
        self._make_room(int(coded.codes.max(initial=-1)) + 1)
        present = np.unique(splits)
        split_of_token = np.repeat(splits, coded.lengths) if len(present) > 1 else None
        for split in present:
            codes = coded.codes if split_of_token is None else coded.codes[split_of_token == split]
            counts = np.bincount(codes)
            self._counts[split, : len(counts)] += counts
        unseen = np.flatnonzero((self._first == _NEVER)[coded.codes])
        codes, places = np.unique(coded.codes[unseen], return_index=True)
        self._first[codes] = self.n_tokens + unseen[places]
        self.n_tokens += len(coded.codes)

    def _make_room(self, n_codes: int) -> None:
        lacking = n_codes - len(self._first)
        if lacking > 0:
            room = max(lacking, len(self._first))
            self._counts = np.pad(self._counts, ((0, 0), (0, room)))
            self._first = np.pad(self._first, (0, room), constant_values=_NEVER)

    @property
    def n_documents(self) -> int:
        """Documents so far."""
        return len(self._lengths.values)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each document."""
        return self._lengths.values

    @property
    def splits(self) -> np.ndarray:
        """Position of each document's split in `SPLITS`."""
        return self._splits.values

    @property
    def characters(self) -> np.ndarray:
        """Characters of each raw text."""
        return self._characters.values

    def close(self, tokens: Sequence[str]) -> Part:
        """Return what was counted since the last part, given the tokens of its codes, and begin the next part."""
        self._make_room(len(tokens))
        n = len(tokens)
        part = Part(tokens, self._first[:n], self._counts[:, :n], self.n_tokens - self._closed)
        self._begin()
        return part

    def _begin(self) -> None:
        self._counts = np.zeros((len(SPLITS), 0), np.int64)
        self._first = np.zeros(0, np.int64)
        self._closed = self.n_tokens

    def summaries(self, unknown: np.ndarray) -> dict[str, SplitSummary]:
        """Return the size of each split that has documents, given its number of unknown tokens."""
        of_split = [self.splits == number for number in range(len(SPLITS))]
        return {
            name: SplitSummary(int(held.sum()), int(self.lengths[held].sum()), int(unknown[number]))
            for number, (name, held) in enumerate(zip(SPLITS, of_split, strict=True))
            if held.any()
        }
