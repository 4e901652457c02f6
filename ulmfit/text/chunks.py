"""An exact hash table from words, given as spans of one byte buffer, to consecutive codes, in numpy alone.

A word of up to 15 bytes is its own key: two 64-bit integers hold its bytes and its length, so that equal keys
mean equal words. Longer words, about one in a hundred of English, go through a dict.
"""

from __future__ import annotations

import numpy as np

INLINE_BYTES = 15
_MASK = np.array([(1 << (8 * n)) - 1 for n in range(9)], dtype=np.uint64)
_MIX = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0xD6E8FEB86659FD93], dtype=np.uint64)


class Growing:
    """An array that grows at its end, with room to spare."""

    def __init__(self, dtype: type) -> None:
        self.room = np.zeros(1024, dtype)  # the values, then zeros
        self._n = 0

    def extend(self, values: np.ndarray) -> None:
        """Append `values`."""
        end = self._n + len(values)
        if end >= len(self.room):
            room = np.zeros(2 * end, self.room.dtype)
            room[: self._n] = self.room[: self._n]
            self.room = room
        self.room[self._n : end] = values
        self._n = end

    @property
    def values(self) -> np.ndarray:
        """The array so far, as a view that is valid until the next `extend`."""
        return self.room[: self._n]


class Ragged:
    """Rows of integers of different lengths, in one growing array."""

    def __init__(self) -> None:
        self._flat, self._starts, self._counts = (
            Growing(np.int32),
            Growing(np.int64),
            Growing(np.int64),
        )

    def extend(self, flat: np.ndarray, counts: np.ndarray) -> None:
        """Append rows of `counts` values each, which lie in `flat` one after the other."""
        self._starts.extend(len(self._flat.values) + np.cumsum(counts) - counts)
        self._counts.extend(counts)
        self._flat.extend(flat)

    def all(self) -> tuple[np.ndarray, np.ndarray]:
        """Return all rows, one after the other, and their lengths."""
        return self._flat.values, self._counts.values

    def rows(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the values of some rows, one after the other, and the end of each row among them."""
        counts = self._counts.values[numbers]
        ends = np.cumsum(counts)
        total = int(ends[-1]) if len(ends) else 0
        at = np.arange(total) + np.repeat(self._starts.values[numbers] - ends + counts, counts)
        return self._flat.values[at], ends


class ChunkTable:
    """Give each distinct word a code: 0 for the first one seen, and so on."""

    def __init__(self) -> None:
        self._slots = np.full(1 << 16, -1, np.int32)
        self._low, self._high = Growing(np.uint64), Growing(np.uint64)
        self._long: dict[bytes, int] = {}
        self._n = 0

    def __len__(self) -> int:
        return self._n

    def find(
        self, data: bytes, starts: np.ndarray, lengths: np.ndarray
    ) -> tuple[np.ndarray, list[bytes]]:
        """Return the code of each word, and the words that had none until now, in the order of their codes.

        `data` ends with 16 spare bytes, so that eight can be read from any position of a word.
        """
        inline = lengths <= INLINE_BYTES
        low, high = _keys(data, starts, np.where(inline, lengths, 0))
        codes, new = self._probe(low, high), []
        lacking = np.flatnonzero((codes < 0) & inline)
        if lacking.size:
            firsts, inverse = _distinct(low[lacking], high[lacking])
            codes[lacking] = self._n + inverse
            firsts = lacking[firsts]
            new = _slices(data, starts[firsts], lengths[firsts])
            self._insert(low[firsts], high[firsts])
        long = np.flatnonzero(~inline)
        for i, word in zip(long.tolist(), _slices(data, starts[long], lengths[long]), strict=True):
            code = self._long.get(word)
            if code is None:
                code = self._long[word] = self._n
                self._insert(*np.zeros((2, 1), np.uint64))
                new.append(word)
            codes[i] = code
        return codes, new

    def words(self) -> tuple[bytes, np.ndarray]:
        """Return all words in the order of their codes, joined, and their lengths."""
        low, high = self._low.values.astype("<u8"), self._high.values.astype("<u8")
        lengths = (high >> np.uint64(56)).astype(np.int64)
        content = np.stack([low, high], axis=1).view(np.uint8).reshape(-1, 16)
        words = [row[:n] for row, n in zip(map(bytes, content), lengths.tolist(), strict=True)]
        for word, code in self._long.items():
            words[code], lengths[code] = word, len(word)
        return b"".join(words), lengths

    def _probe(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Follow each key through the slots to its code, or to the free slot (-1) that ends its search."""
        mask = len(self._slots) - 1
        known_low, known_high = (
            self._low.room,
            self._high.room,
        )  # code -1 reads a row that is not used
        slots = _hash(low, high) & mask
        codes = self._slots[slots]
        differs = (known_low[codes] != low) | (known_high[codes] != high)
        pending = np.flatnonzero(differs & (codes >= 0))
        while pending.size:
            slots[pending] = (slots[pending] + 1) & mask
            codes[pending] = found = self._slots[slots[pending]]
            differs = (known_low[found] != low[pending]) | (known_high[found] != high[pending])
            pending = pending[differs & (found >= 0)]
        return codes

    def _insert(self, low: np.ndarray, high: np.ndarray) -> None:
        """Append distinct new keys and enter them into the slots; a long word's key is zero and gets no slot."""
        first = self._n
        self._low.extend(low)
        self._high.extend(high)
        self._n += len(low)
        if 2 * self._n > len(self._slots):
            self._slots = np.full(1 << int(4 * self._n - 1).bit_length(), -1, np.int32)
            first = 0  # a larger table is filled anew
        pending = first + np.flatnonzero(self._high.values[first:]).astype(np.int32)
        mask = len(self._slots) - 1
        slots = _hash(self._low.values[pending], self._high.values[pending]) & mask
        while pending.size:
            free = self._slots[slots] < 0
            self._slots[slots[free]] = pending[
                free
            ]  # of several keys for one slot, the last one wins
            placed = self._slots[slots] == pending
            pending, slots = pending[~placed], (slots[~placed] + 1) & mask


def _slices(data: bytes, starts: np.ndarray, lengths: np.ndarray) -> list[bytes]:
    return [data[s : s + n] for s, n in zip(starts.tolist(), lengths.tolist(), strict=True)]


def _keys(data: bytes, starts: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pack words of at most 15 bytes into two integers each: bytes 0-7, and bytes 8-14 with the length."""
    eights = np.ndarray(
        len(data) - 7, "<u8", data, strides=(1,)
    )  # the 8 bytes from each position on
    low = eights[starts] & _MASK[np.minimum(lengths, 8)]
    high = eights[starts + 8] & _MASK[np.maximum(lengths - 8, 0)]
    high |= lengths.astype(np.uint64) << np.uint64(56)
    return low, high


def _hash(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Mix each key's two integers into one index."""
    mixed = low * _MIX[0] ^ high * _MIX[1]
    mixed ^= mixed >> np.uint64(29)
    mixed *= _MIX[2]
    return (mixed >> np.uint64(32)).astype(np.int64)


def _distinct(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the position of each distinct key's first row, and for every row the number of its key."""
    order = np.lexsort((high, low))  # stable: equal keys stay in order
    new = np.ones(len(low), bool)
    new[1:] = (low[order[1:]] != low[order[:-1]]) | (high[order[1:]] != high[order[:-1]])
    inverse = np.empty(len(low), np.int64)
    inverse[order] = np.cumsum(new) - 1
    return order[new], inverse
