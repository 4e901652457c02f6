"""The chunk table against a dict; growing and ragged arrays against lists."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ulmfit.text import chunks
from ulmfit.text.chunks import INLINE_BYTES, ChunkTable, Growing, Ragged

EDGES = [b"a" * n for n in (1, 7, 8, 9, 14, 15, 16, 17, 40)]
WORDS = (
    st.binary(min_size=1, max_size=20)
    | st.text("ab\x00", min_size=1, max_size=3).map(str.encode)
    | st.sampled_from([*EDGES, b"\x00", b"\x00\x00", b"\x00" * 15, b"\x00" * 16, b"\xff" * 15])
)
BATCHES = st.lists(st.lists(WORDS, max_size=30), max_size=5)


def find(table: ChunkTable, words: list[bytes]) -> tuple[list[int], list[bytes]]:
    lengths = np.array([len(word) for word in words], np.int64)
    starts = np.cumsum(lengths) - lengths
    codes, new = table.find(b"".join(words) + b" " * 16, starts, lengths)
    return codes.tolist(), new


def check(batches: list[list[bytes]]) -> ChunkTable:
    """Feed batches to a table and to a dict, which must agree on which words are equal and which are new."""
    table, code_of = ChunkTable(), {}
    for words in batches:
        codes, new = find(table, words)
        assert sorted(new) == sorted(set(words) - set(code_of))
        code_of.update(zip(new, range(len(code_of), len(code_of) + len(new)), strict=True))
        assert codes == [code_of[word] for word in words]
        assert len(table) == len(code_of)
    joined, lengths = table.words()
    ends = np.cumsum(lengths).tolist()
    listed = [joined[end - n : end] for end, n in zip(ends, lengths.tolist(), strict=True)]
    assert listed == list(code_of)
    return table


@given(BATCHES)
def test_a_table_is_a_dict(batches: list[list[bytes]]) -> None:
    check(batches)


@settings(deadline=None)
@given(batches=BATCHES)
def test_a_table_is_a_dict_though_all_hashes_collide(batches: list[list[bytes]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "_hash", lambda low, high: np.full(len(low), 65_535, np.int64))
        check(batches)


def test_a_table_grows() -> None:
    words = [str(i).encode() for i in range(70_000)]
    table = check([words[:10], words[:40_000], words[::-1], words])
    assert len(table) == 70_000


def test_words_at_the_edge_of_an_inline_key_are_told_apart() -> None:
    for n in (INLINE_BYTES, INLINE_BYTES + 1):
        check([[b"a" * n, b"a" * (n - 1) + b"b", b"a" * (n - 1) + b"\x00", b"a" * (n - 1)] * 2])


def test_no_words() -> None:
    assert find(ChunkTable(), []) == ([], [])


@given(st.lists(st.lists(st.integers(0, 99), max_size=700), max_size=8))
def test_growing_is_a_list(parts: list[list[int]]) -> None:
    growing, expected = Growing(np.int32), []
    for part in parts:
        growing.extend(np.array(part, np.int32))
        expected += part
    assert growing.values.tolist() == expected
    assert growing.room[-1] == 0  # the table reads it as the row of no word


@given(
    st.lists(st.lists(st.lists(st.integers(-9, 9), max_size=5), max_size=6), max_size=5), st.data()
)
def test_ragged_is_a_list_of_lists(parts: list[list[list[int]]], data: st.DataObject) -> None:
    ragged, expected = Ragged(), []
    for part in parts:
        flat = np.array([value for row in part for value in row], np.int32)
        ragged.extend(flat, np.array([len(row) for row in part], np.int64))
        expected += part
    numbers = data.draw(st.lists(st.integers(0, len(expected) - 1))) if expected else []
    flat, ends = ragged.rows(np.array(numbers, np.int64))
    assert flat.tolist() == [value for i in numbers for value in expected[i]]
    assert ends.tolist() == np.cumsum([len(expected[i]) for i in numbers]).tolist()
    flat, counts = ragged.all()
    assert flat.tolist() == [value for row in expected for value in row]
    assert counts.tolist() == [len(row) for row in expected]
