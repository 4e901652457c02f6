"""Epochs that are not one pass: the same batches as a loop that lays passes end to end and cuts them off."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulmfit.text.buckets import DocumentBatches
from ulmfit.text.epochs import WHOLE, EpochSize
from ulmfit.text.lm_stream import LMStream

documents = st.lists(st.integers(1, 12), min_size=2, max_size=20)
bounds = st.one_of(st.none(), st.integers(1, 40))


def flat(lengths: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Number every token by its place, so that each is told from all others."""
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return np.arange(offsets[-1]), offsets


def stream(lengths: list[int], size: EpochSize, **changes: object) -> LMStream:
    ids, offsets = flat(lengths)
    settings = {"rows": np.arange(len(lengths)), "bs": 3, "seq_len": 4, **changes}
    return LMStream(ids, offsets, size=size, **settings)  # ty: ignore[invalid-argument-type]


@given(documents, bounds, bounds, st.booleans(), st.integers(0, 3))
def test_a_stream_of_several_passes(
    lengths: list[int], least: int | None, more: int | None, jitter: bool, epoch: int
) -> None:
    most = None if more is None else more + (least or 0)
    size = EpochSize(least, most)
    bounded, whole = stream(lengths, size, jitter=jitter), stream(lengths, WHOLE, jitter=jitter)
    order = bounded.order(epoch)
    n_documents = len(lengths)
    assert (order[:n_documents] == whole.order(epoch)).all()  # the first pass is the usual one
    for first in range(0, len(order), n_documents):
        assert sorted(order[first : first + n_documents]) == list(range(n_documents))
    ids, offsets = flat(lengths)
    laid = np.concatenate([ids[offsets[d] : offsets[d + 1]] for d in order])
    rows = [laid[r * bounded.row_length :][: bounded.row_length + 1] for r in range(bounded.bs)]
    cuts = bounded.cuts(epoch)
    batches = list(bounded.batches(epoch))
    assert len(batches) == bounded.n_batches(epoch) == len(cuts) - 1
    for batch, (start, stop) in zip(batches, pairwise(cuts), strict=True):
        assert (batch == np.stack([row[start : stop + 1] for row in rows])).all()
    assert len(batches) >= (least or 1)
    if not jitter:
        n_whole = whole.n_batches(epoch)
        wanted = max(n_whole, least or 0)
        assert len(batches) == (wanted if most is None else min(wanted, most))
        assert ("an epoch reads" in (bounded.notice or "")) == (len(batches) != n_whole)


@given(documents, bounds, bounds, st.integers(0, 3))
def test_documents_are_read_equally_often(
    lengths: list[int], least: int | None, more: int | None, epoch: int
) -> None:
    most = None if more is None else more + (least or 0)
    ids, offsets = flat(lengths)

    def batches(size: EpochSize) -> DocumentBatches:
        return DocumentBatches(ids, offsets, rows=np.arange(len(lengths)), bs=3, size=size)

    bounded, whole = batches(EpochSize(least, most)), batches(WHOLE)
    n_whole = whole.n_batches(epoch)
    plan = bounded.plan(epoch)
    wanted = max(n_whole, least or 0)
    assert len(plan) == (wanted if most is None else min(wanted, most))
    if len(plan) >= n_whole:
        assert all((a == b).all() for a, b in zip(plan, whole.plan(epoch)))
    else:  # some of them, the longest of these ahead
        assert {tuple(batch) for batch in plan} < {tuple(batch) for batch in whole.plan(epoch)}
    counts = Counter(place for batch in plan for place in batch.tolist())
    times = [counts[place] for place in range(len(lengths))]
    assert max(times) - min(times) <= 1
    assert (bounded.notice is None) == (len(plan) == n_whole)
    assert bounded.reshuffled(False).notice is None
    assert len(bounded.reshuffled(False).plan(epoch)) == len(whole.reshuffled(False).plan(epoch))


@given(st.lists(st.integers(1, 60), min_size=4, max_size=40), st.integers(1, 40))
def test_batches_of_so_many_tokens_are_as_many_as_asked(lengths: list[int], least: int) -> None:
    ids, offsets = flat(lengths)
    size = EpochSize(min_batches=least)
    bounded = DocumentBatches(
        ids, offsets, rows=np.arange(len(lengths)), bs=8, max_tokens=90, size=size
    )
    assert all(bounded.n_batches(epoch) >= least for epoch in range(5))


def test_each_pass_and_each_epoch_draws_anew() -> None:
    bounded = stream([5] * 40, EpochSize(min_batches=60))
    orders = [bounded.order(epoch) for epoch in (0, 1)]
    parts = [tuple(order[first : first + 40]) for order in orders for first in (0, 40, 80)]
    assert len(set(parts)) == len(parts)
    ids, offsets = flat([5] * 40)
    batches = DocumentBatches(
        ids, offsets, rows=np.arange(40), bs=4, size=EpochSize(min_batches=30)
    )
    plans = [tuple(map(tuple, batches.plan(epoch))) for epoch in (0, 1)]
    parts = [plan[first : first + 10] for plan in plans for first in (0, 10, 20)]
    assert len(set(parts)) == len(parts)


@pytest.mark.parametrize(
    ("size", "says"),
    [
        (EpochSize(min_batches=10), "an epoch reads the documents 2.0 times (10 batches)"),
        (EpochSize(max_batches=2), "an epoch reads a random 40% of the documents (2 batches)"),
    ],
)
def test_what_an_epoch_is_gets_said(size: EpochSize, says: str) -> None:
    assert size.notice(5) == says
