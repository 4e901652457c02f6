"""Texts -> the chunks they are made of, as spans of one byte buffer: text and white space in turn.

A chunk is a run of text, or a run of white space from its first character that is not a space: single spaces
separate, and are no chunk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Classes of bytes; the lowest bit says white space.
_TEXT, _SPACE, _LEAD, _WHITE = 0, 1, 2, 3
_CLASS = bytearray(256)
for _byte, _class in (
    *((byte, _WHITE) for byte in (9, 10, 11, 12, 13, 28, 29, 30, 31)),
    *(
        (byte, _LEAD) for byte in (0xC2, 0xE1, 0xE2, 0xE3)
    ),  # white space beyond ASCII begins with these
    (ord(" "), _SPACE),
):
    _CLASS[_byte] = _class
_WIDE = np.array(
    [int.from_bytes(c.encode(), "big") for c in map(chr, range(128, 0x3001)) if c.isspace()]
)


@dataclass(frozen=True)
class Cut:
    """The chunks of some texts, in order."""

    data: bytes
    """UTF-8, with 16 spare bytes at the end."""
    starts: np.ndarray
    lengths: np.ndarray
    firsts: np.ndarray
    """The number of each text's first chunk, then the number of chunks."""

    def texts_at(self, chunks: np.ndarray) -> list[int]:
        """Return the numbers of the texts to which some chunks belong."""
        return np.unique(np.searchsorted(self.firsts, chunks, "right") - 1).tolist()

    def between(self, first: int, last: int) -> str:
        """Return the text from one chunk to another, both included."""
        end = self.starts[last] + self.lengths[last]
        return self.data[self.starts[first] : end].decode()


def cut_texts(texts: Sequence[str]) -> Cut:
    """Cut texts, none of which begins or ends with white space, into chunks."""
    encoded = [text.encode() for text in texts]
    data = b" ".join(encoded) + b" " * 17
    starts, lengths = _cut(data)
    begins = np.cumsum([0, *(len(text) + 1 for text in encoded)])
    return Cut(data, starts, lengths, np.searchsorted(starts, begins))


def _cut(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return where the chunks of `data` start, and their lengths; `data` begins with text and ends with spaces."""
    classes = np.frombuffer(data.translate(_CLASS), np.uint8)
    lead = np.flatnonzero(classes == _LEAD)
    if lead.size:
        classes = classes.copy()
        content = np.frombuffer(data, np.uint8)
        two = content[lead].astype(np.uint32) << 8 | content[lead + 1]
        three = two << 8 | content[lead + 2]
        for codes, width in ((two, 2), (three, 3)):
            found = lead[np.isin(codes, _WIDE)]
            for i in range(width):
                classes[found + i] = _WHITE
    white = classes & 1
    edges = np.flatnonzero(white[1:] != white[:-1]) + 1
    starts, ends = np.concatenate([[0], edges[1::2]]), edges[0::2]
    odd = np.flatnonzero(classes == _WHITE)
    if odd.size:
        run, first = np.unique(np.searchsorted(ends, odd, "right"), return_index=True)
        starts, ends = np.insert(starts, run, odd[first]), np.insert(ends, run, starts[run])
    return starts, ends - starts
