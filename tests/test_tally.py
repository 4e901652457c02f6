"""Counts by split and first occurrences, in one part and in several, against a plain loop."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ulmfit.config import SPLITS
from ulmfit.text.document_batches import Documents
from ulmfit.text.frames import ListTable
from ulmfit.text.parts import Parts
from ulmfit.text.rules import CONTROL_TOKENS
from ulmfit.text.spans import Coded
from ulmfit.text.tally import Tally
from ulmfit.text.vocab import Vocab

document = st.tuples(st.lists(st.integers(0, 30), max_size=8), st.sampled_from(SPLITS))


@given(
    st.lists(st.lists(document, min_size=1, max_size=6), min_size=1, max_size=6),
    st.sampled_from([1, 2, 9]),
)
def test_counts_sizes_and_order_are_those_of_a_loop(batches, per_part: int) -> None:
    """Every `per_part` batches a part ends, and the next one gives other codes to the tokens."""
    names = [f"t{code}" for code in range(40)]
    with tempfile.TemporaryDirectory() as folder:
        tally, parts, tokens = Tally(), Parts(Path(folder) / "parts"), names
        running: list[str] = []
        for number, batch in enumerate(batches, 1):
            words = [names[code] for codes, _ in batch for code in codes]
            lengths = [len(codes) for codes, _ in batch]
            texts = ["x" * (3 * n) for n in lengths]
            splits, rows = [split for _, split in batch], list(range(len(batch)))
            documents = Documents((texts, texts), None, splits, rows, ListTable([], "text"))
            codes = np.array([tokens.index(word) for word in words], np.int32)
            tally.add(documents, Coded(codes, np.array(lengths, np.int64)))
            running += words
            if number % per_part == 0:
                parts.add(tally.close(tokens))
                tokens = tokens[number:] + tokens[:number]
        parts.add(tally.close(tokens))
        check(tally, parts, running, [pair for batch in batches for pair in batch])


def check(tally: Tally, parts: Parts, running: list[str], flat: list[tuple]) -> None:
    for chosen in (("train",), ("train", "unsup"), SPLITS):
        seen = Counter(f"t{c}" for codes, split in flat if split in chosen for c in codes)
        first = {word: running.index(word) for word in seen}
        expected = sorted(seen.items(), key=lambda pair: (-pair[1], first[pair[0]]))
        assert list(parts.counts(chosen, 100).items()) == expected
        assert list(parts.counts(chosen, 3).items()) == expected[:3]
    assert tally.lengths.tolist() == [len(codes) for codes, _ in flat]
    assert tally.characters.tolist() == [6 * len(codes) for codes, _ in flat]
    vocab = Vocab([*CONTROL_TOKENS, *(f"t{code}" for code in range(0, 40, 3))])
    for name, summary in tally.summaries(parts.unknown(vocab)).items():
        mine = [codes for codes, split in flat if split == name]
        assert (summary.documents, summary.tokens) == (len(mine), sum(map(len, mine)))
        assert summary.unknown == sum(code % 3 > 0 for codes in mine for code in codes)
    sizes, ids = zip(*parts.ids(vocab), strict=True)
    assert sum(sizes) == len(running)
    assert all(len(part) == 40 for part in ids)
