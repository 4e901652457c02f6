"""The language model's stream: an epoch's documents, joined and cut into equal mini-streams.

In: a corpus's flat ids (usually memory-mapped) and offsets. Out: one integer array a batch. The
stream is never built: batches are gathered straight from the flat ids. Order and cuts are pure
functions of (seed, epoch), so (epoch, batch) is the whole position.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ulmfit.config import require
from ulmfit.errors import UserError
from ulmfit.text.epochs import WHOLE, EpochSize
from ulmfit.text.windows import FlatArray, without_subclass

# Tokens gathered at once and handed out batch by batch: numpy's cost per call is paid once for
# 14 batches of 64 x 72.
BLOCK_TOKENS = 1 << 16


@dataclass(frozen=True)
class Position:
    """Where a reader stands: the epoch, and the number of the batch that comes next in it."""

    epoch: int = 0
    batch: int = 0


def is_backward(direction: str) -> bool:
    """Read a direction: forward, or backward (each document reversed in itself)."""
    if direction not in ("forward", "backward"):
        raise UserError(f"direction is {direction!r}; allowed: forward, backward")
    return direction == "backward"


@dataclass(frozen=True)
class _Layout:
    """The documents of one epoch laid end to end, and the way back into the flat ids."""

    bounds: np.ndarray  # (n_documents + 1,) positions in the stream
    anchors: np.ndarray  # (n_documents,) index into ids = anchor + step * position in the stream
    step: int  # 1, or -1 where documents are read backward


class LMStream:
    """Cut the documents `rows` of a corpus into `bs` mini-streams and read them side by side.

    Row r of a batch goes on where row r of the batch before ended; all but the last column are
    inputs, all but the first are labels. With `world` processes each reads its own `bs` of the
    bs * world mini-streams. A corpus too small for `bs` rows of `seq_len` gets fewer rows; where
    `size` says so, an epoch reads the documents several times, or a random part. `notice` tells.
    """

    def __init__(
        self,
        ids: FlatArray,
        offsets: np.ndarray,
        *,
        rows: np.ndarray,
        bs: int = 64,
        seq_len: int = 72,
        direction: str = "forward",
        seed: int = 0,
        shuffle: bool = True,
        jitter: bool = False,
        rank: int = 0,
        world: int = 1,
        split: str = "training",
        size: EpochSize = WHOLE,
    ) -> None:
        require(bs >= 1, "bs", bs, "1 or more")
        require(seq_len >= 1, "seq_len", seq_len, "1 or more")
        require(seed >= 0, "seed", seed, "0 or more")
        self.ids = without_subclass(ids)
        rows = np.asarray(rows, np.int64)
        starts, stops = offsets[rows], offsets[rows + 1]
        filled = stops > starts
        self._starts, self._stops = starts[filled], stops[filled]
        self.n_tokens = int((self._stops - self._starts).sum())
        if self.n_tokens < world + 1:
            raise UserError(
                f"the {split} split has {self.n_tokens} tokens; a language model needs at least "
                f"{world + 1}{f' in {world} processes' if world > 1 else ''}: give it more text, or name another"
            )
        self.bs = max(1, min(bs, (self.n_tokens - 1) // (seq_len * world)))
        notices = []
        if self.bs < bs:
            notices.append(
                f"the {split} split has only {self.n_tokens} tokens: "
                f"batch size {self.bs * world} instead of {bs * world}"
            )
        self.seq_len, self.backward = seq_len, is_backward(direction)
        self.seed, self.shuffle, self.jitter = seed, shuffle, jitter
        # One token is kept back: the label of the last one that is read.
        n_whole = -(-((self.n_tokens - 1) // (self.bs * world)) // seq_len)
        self._passes, self._most = 1, size.most(n_whole)
        self._least = size.min_batches or 1
        self._end = self._most or size.max_batches  # shorter batches may be more than n_whole
        if self._most is not None:
            notices.append(size.notice(n_whole))
            wanted = self.bs * world * ((self._most - 1) * seq_len + 1) + 1
            self._passes = max(1, -(-wanted // self.n_tokens))
        self.notice = "; ".join(notices) or None
        self.row_length = (self.n_tokens * self._passes - 1) // (self.bs * world)
        self._row_starts = (rank * self.bs + np.arange(self.bs, dtype=np.int64)) * self.row_length

    def __len__(self) -> int:
        return len(self._starts)  # documents with a token

    def reshuffled(self, shuffle: bool) -> LMStream:
        """Return the same stream with its documents shuffled, or in corpus order."""
        other = copy.copy(self)
        other.shuffle = shuffle
        return other

    def order(self, epoch: int) -> np.ndarray:
        """Give the order of the non-empty documents in this epoch, one pass after the other."""
        n_documents = len(self._starts)
        if not self.shuffle:
            return np.tile(np.arange(n_documents), self._passes)
        generator = np.random.default_rng([self.seed, epoch])
        return np.concatenate([generator.permutation(n_documents) for _ in range(self._passes)])

    def cuts(self, epoch: int) -> np.ndarray:
        """Give the columns at which batches begin, and the end of the last one."""
        if not self.jitter:
            cuts = np.append(np.arange(0, self.row_length, self.seq_len), self.row_length)
        else:
            generator = np.random.default_rng([self.seed, epoch, 1])
            cuts = _jittered_cuts(self.row_length, self.seq_len, generator)
            if len(cuts) <= self._least:  # long batches were drawn, and make too few
                cuts = np.linspace(0, self.row_length, self._least + 1).astype(np.int64)
        return cuts if self._end is None else cuts[: self._end + 1]

    def n_batches(self, epoch: int) -> int:
        """Count the batches of this epoch; only jitter makes it differ between epochs."""
        if self.jitter:
            return len(self.cuts(epoch)) - 1
        n_batches = -(-self.row_length // self.seq_len)
        return n_batches if self._end is None else min(n_batches, self._end)

    def batches(self, epoch: int, first: int = 0) -> Iterator[np.ndarray]:
        """Yield int64 arrays (bs, columns + 1) from batch `first` on; neighbours share memory."""
        layout, cuts = self._layout(epoch), self.cuts(epoch)
        per_block = max(1, BLOCK_TOKENS // (self.bs * self.seq_len))
        for low in range(first, len(cuts) - 1, per_block):
            edges = cuts[low : low + per_block + 1]
            block = self._gather(layout, int(edges[0]), int(edges[-1] - edges[0]) + 1)
            edges = (edges - edges[0]).tolist()
            for start, stop in itertools.pairwise(edges):
                yield block[:, start : stop + 1]

    def _layout(self, epoch: int) -> _Layout:
        order = self.order(epoch)
        starts, stops = self._starts[order], self._stops[order]
        bounds = np.concatenate([[0], np.cumsum(stops - starts)])
        if self.backward:
            return _Layout(bounds, stops - 1 + bounds[:-1], -1)
        return _Layout(bounds, starts - bounds[:-1], 1)

    def _gather(self, layout: _Layout, start: int, width: int) -> np.ndarray:
        """Read the columns [start, start + width) of every row: (bs, width)."""
        bounds = layout.bounds
        begin = self._row_starts + start
        end = begin + width
        first = bounds.searchsorted(begin, "right") - 1
        n_pieces = bounds.searchsorted(end - 1, "right") - first  # documents that row r meets
        # One entry a piece, a piece being the stretch of one document inside one row.
        pieces_before = np.cumsum(n_pieces) - n_pieces
        document = np.arange(n_pieces.sum()) + np.repeat(first - pieces_before, n_pieces)
        piece_end = np.minimum(bounds[document + 1], np.repeat(end, n_pieces))
        piece_begin = np.maximum(bounds[document], np.repeat(begin, n_pieces))
        index = np.repeat(layout.anchors[document], piece_end - piece_begin).reshape(self.bs, width)
        index += layout.step * begin[:, None]
        index += layout.step * np.arange(width)
        return self.ids[index].astype(np.int64)


def _jittered_cuts(row_length: int, seq_len: int, generator: np.random.Generator) -> np.ndarray:
    """Draw the variable sequence lengths of AWD-LSTM (Merity et al. 2017, 4.1), as fastai 0.7 did.

    The first batch is the longest, so that a lack of memory shows at once.
    """
    most = row_length // 5 + 1
    means = np.where(generator.random(most) < 0.95, seq_len, seq_len / 2)
    lengths = np.maximum(5, generator.normal(means, 5).astype(np.int64))
    lengths[0] = seq_len + 25
    cuts = np.concatenate([[0], np.cumsum(lengths)])
    return np.append(cuts[cuts < row_length], row_length)
