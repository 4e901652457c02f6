"""Counts by split and first occurrences, against a plain loop."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ulmfit.config import SPLITS
from ulmfit.text.documents import Documents
from ulmfit.text.spans import Coded
from ulmfit.text.tally import Tally

document = st.tuples(st.lists(st.integers(0, 30), max_size=8), st.sampled_from(SPLITS))


@given(st.lists(st.lists(document, min_size=1, max_size=6), min_size=1, max_size=6))
def test_counts_sizes_and_order_are_those_of_a_loop(batches) -> None:
    tally = Tally()
    for batch in batches:
        codes = [code for codes, _ in batch for code in codes]
        lengths = [len(codes) for codes, _ in batch]
        texts = ["x" * (3 * n) for n in lengths]
        documents = Documents((texts, texts), None, [split for _, split in batch])
        tally.add(documents, Coded(np.array(codes, np.int32), np.array(lengths, np.int64)))
    flat = [pair for batch in batches for pair in batch]
    tokens = [f"t{code}" for code in range(40)]
    for chosen in (("train",), ("train", "unsup"), SPLITS):
        expected = Counter(f"t{c}" for codes, split in flat if split in chosen for c in codes)
        assert tally.counts(tokens, chosen) == dict(expected)
    first_seen = list(dict.fromkeys(f"t{c}" for codes, _ in flat for c in codes))
    assert list(tally.counts(tokens, SPLITS)) == first_seen
    assert tally.lengths.tolist() == [len(codes) for codes, _ in flat]
    assert tally.characters.tolist() == [6 * len(codes) for codes, _ in flat]
    ids = np.array([0 if code % 3 else code for code in range(40)])
    for name, summary in tally.summaries(ids).items():
        mine = [codes for codes, split in flat if split == name]
        unknown = sum(ids[code] == 0 for codes in mine for code in codes)
        assert (summary.documents, summary.tokens) == (len(mine), sum(map(len, mine)))
        assert summary.unknown == unknown
