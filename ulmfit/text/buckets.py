"""The classifier's batches: documents of like length together, padded at the end.

In: a corpus's flat ids and offsets. Out: for each batch the padded ids, the true lengths (masks
come from them, never from ids) and the documents' places in `rows`. What is random is a pure
function of (seed, epoch).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from ulmfit.config import require
from ulmfit.text.epochs import WHOLE, EpochSize
from ulmfit.text.lm_stream import is_backward
from ulmfit.text.windows import FlatArray, without_subclass

# Documents are sorted by length within pools of this many batches, as in fastai: little padding
# and still a fair amount of chance.
POOL_BATCHES = 50
_PART = 1 << 20  # in place of a pass, for the chance by which a part is drawn


def training_batches(
    lengths: np.ndarray,
    bs: int,
    *,
    max_tokens: int | None = None,
    seed: int = 0,
    epoch: int = 0,
    again: int = 0,
) -> list[np.ndarray]:
    """Group shuffled documents of like length; the batch with the longest document comes first.

    A batch has at most `bs` documents and `max_tokens` tokens, padding included. Batch norm needs
    two rows, so two documents stay together however long they are, and a single one left over joins
    the batch before it. `again` counts the passes before this one in the same epoch.
    """
    generator = np.random.default_rng([seed, epoch, again] if again else [seed, epoch])
    batches: list[np.ndarray] = []
    for pool in _pools(generator.permutation(len(lengths)), POOL_BATCHES * bs):
        cut = _cut(_longest_first(pool, lengths), lengths, bs, max_tokens, least=min(2, bs))
        if len(cut) > 1 and len(cut[-1]) == 1 < bs:
            cut[-2:] = [np.concatenate(cut[-2:])]
        batches += cut
    if not batches:
        return []
    first = batches.pop(_longest(batches, lengths))
    return [first, *(batches[i] for i in generator.permutation(len(batches)))]


def random_part(
    batches: list[np.ndarray], lengths: np.ndarray, n: int, *, seed: int, epoch: int
) -> list[np.ndarray]:
    """Draw `n` of an epoch's batches, each with the same chance; the one with the longest document comes first."""
    drawn = np.random.default_rng([seed, epoch, _PART]).permutation(len(batches))[:n]
    some = [batches[i] for i in drawn]
    return [some.pop(_longest(some, lengths)), *some]


def _longest(batches: list[np.ndarray], lengths: np.ndarray) -> int:
    """Find the batch with the longest document: if memory does not suffice for it, that shows at once."""
    return int(np.argmax([lengths[batch[0]] for batch in batches]))


def evaluation_batches(
    lengths: np.ndarray, bs: int, *, max_tokens: int | None = None
) -> list[np.ndarray]:
    """Group the documents in order of length, longest first."""
    return _cut(_longest_first(np.arange(len(lengths)), lengths), lengths, bs, max_tokens, least=1)


def _pools(order: np.ndarray, size: int) -> list[np.ndarray]:
    """Cut `order` into pools of `size`; a single document left over joins the last one."""
    bounds = np.arange(size, len(order), size)
    return np.split(order, bounds[: len(bounds) - (len(order) % size == 1)])


def _longest_first(order: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    return order[np.argsort(-lengths[order], kind="stable")]


def _cut(
    order: np.ndarray, lengths: np.ndarray, bs: int, max_tokens: int | None, *, least: int
) -> list[np.ndarray]:
    """Cut documents that come longest first into the largest batches allowed."""
    batches, start = [], 0
    while start < len(order):
        longest = max(1, int(lengths[order[start]]))
        size = bs if max_tokens is None else max(least, min(bs, max_tokens // longest))
        batches.append(order[start : start + size])
        start += size
    return batches


@dataclass(frozen=True)
class PaddedBatch:
    """Documents padded at the end to the longest of them."""

    ids: np.ndarray  # (n, longest) int64
    lengths: np.ndarray  # (n,) int64, each at least 1
    places: np.ndarray  # (n,) of the documents in `rows`


class DocumentBatches:
    """Read the documents `rows` of a corpus in padded batches.

    A document longer than `max_len` keeps the tokens that are read last: its end, or its beginning
    when it is read backward. An empty document is read as one padding token. Where `size` says so, an
    epoch of shuffled documents reads them several times, or a random part of them.
    """

    def __init__(
        self,
        ids: FlatArray,
        offsets: np.ndarray,
        *,
        rows: np.ndarray,
        bs: int = 64,
        max_tokens: int | None = None,
        max_len: int | None = None,
        direction: str = "forward",
        seed: int = 0,
        shuffle: bool = True,
        pad_id: int = 1,
        size: EpochSize = WHOLE,
    ) -> None:
        for name, value in {"bs": bs, "max_tokens": max_tokens, "max_len": max_len}.items():
            require(value is None or value >= 1, name, value, "1 or more")
        require(seed >= 0, "seed", seed, "0 or more")
        self.ids, self.pad_id = without_subclass(ids), pad_id
        self.bs, self.max_tokens = bs, max_tokens
        self.seed, self.shuffle, self.backward = seed, shuffle, is_backward(direction)
        self.size = size
        self.rows = np.asarray(rows, np.int64)
        starts, stops = offsets[self.rows], offsets[self.rows + 1]
        self.lengths = np.minimum(
            stops - starts, np.iinfo(np.int64).max if max_len is None else max_len
        )
        self._starts = starts if self.backward else stops - self.lengths
        self._plan: tuple[int, list[np.ndarray]] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def reshuffled(self, shuffle: bool) -> DocumentBatches:
        """Return the same documents in shuffled batches, or in order of length."""
        other = copy.copy(self)
        other.shuffle, other._plan = shuffle, None
        return other

    @property
    def notice(self) -> str | None:
        """Say what an epoch is, where it is not one pass."""
        if not self.shuffle:
            return None
        n_whole = len(training_batches(self.lengths, self.bs, max_tokens=self.max_tokens))
        return None if self.size.most(n_whole) is None else self.size.notice(n_whole)

    def plan(self, epoch: int) -> list[np.ndarray]:
        """Say which documents, as places in `rows`, form each batch of this epoch."""
        if self._plan is None or self._plan[0] != epoch:
            batches = (
                self._shuffled(epoch)
                if self.shuffle
                else evaluation_batches(self.lengths, self.bs, max_tokens=self.max_tokens)
            )
            self._plan = epoch, batches
        return self._plan[1]

    def _shuffled(self, epoch: int) -> list[np.ndarray]:
        one_pass = partial(
            training_batches, self.lengths, self.bs, max_tokens=self.max_tokens, seed=self.seed
        )
        batches = one_pass(epoch=epoch)
        n_whole = len(batches)
        most = self.size.most(n_whole)
        if most is not None and most < n_whole:
            return random_part(batches, self.lengths, most, seed=self.seed, epoch=epoch)
        again = 0
        while most is not None and len(batches) < most:
            again += 1
            batches += one_pass(epoch=epoch, again=again)
        return batches[:most]

    def n_batches(self, epoch: int) -> int:
        """Count the batches of this epoch."""
        return len(self.plan(epoch))

    def batches(self, epoch: int, first: int = 0) -> Iterator[PaddedBatch]:
        """Yield the batches of this epoch from batch `first` on."""
        for places in self.plan(epoch)[first:]:
            yield self._padded(places)

    def _padded(self, places: np.ndarray) -> PaddedBatch:
        starts, lengths = self._starts[places], self.lengths[places]
        width = max(1, int(lengths.max()))
        ids = np.full((len(places), width), self.pad_id, np.int64)
        for row, start, length in zip(ids, starts.tolist(), lengths.tolist(), strict=True):
            document = self.ids[start : start + length]
            row[:length] = document[::-1] if self.backward else document
        return PaddedBatch(ids, np.maximum(1, lengths), places)
