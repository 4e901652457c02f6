"""The classifier's batches against their laws and against plain slices of the corpus."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ulmfit.errors import UserError
from ulmfit.text.buckets import DocumentBatches, evaluation_batches, training_batches
from ulmfit.text.epochs import EpochSize

LENGTHS = st.lists(st.integers(0, 300), max_size=400).map(np.array)
BUDGET = st.none() | st.integers(1, 2000)


def padded_tokens(batch, lengths):
    return len(batch) * max(1, lengths[batch].max())


def documents(texts, **options):
    lengths = [len(t) for t in texts]
    ids = np.array([i for t in texts for i in t], np.uint16)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return DocumentBatches(ids, offsets, **{"rows": np.arange(len(texts)), **options})


@given(LENGTHS, st.integers(1, 9), BUDGET, st.integers(0, 2**32), st.integers(0, 9))
@settings(deadline=None)
def test_training_reads_every_document_once_and_keeps_its_limits(lengths, bs, budget, seed, epoch):
    batches = training_batches(lengths, bs, max_tokens=budget, seed=seed, epoch=epoch)
    assert sorted(np.concatenate([[], *batches])) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) <= bs + (bs > 1)  # one more: a single document left over
        if bs > 1 and len(lengths) > 1:
            assert len(batch) > 1
        if budget is not None and len(batch) > 3:  # pairs, and a pair joined by the left over one
            without_left_over = batch[:-1]
            assert padded_tokens(without_left_over, lengths) <= budget


@given(LENGTHS.filter(len), st.integers(1, 9), st.integers(0, 5))
@settings(deadline=None)
def test_longest_document_comes_in_the_first_batch(lengths, bs, epoch):
    texts = [[7] * length for length in lengths]
    found = documents(texts, bs=bs).plan(epoch)
    assert lengths.max() in lengths[found[0]]


def test_a_random_part_is_as_likely_to_hold_a_long_document_as_any() -> None:
    lengths = np.random.default_rng(0).lognormal(4, 0.7, 400).astype(int)
    some = documents([[7] * n for n in lengths], bs=8, size=EpochSize(max_batches=10))
    n_epochs = 300
    read = np.zeros(len(lengths))
    for epoch in range(n_epochs):
        read[np.concatenate(some.plan(epoch))] += 1
    longest = np.argsort(-lengths)[:8]
    share = 10 / 50
    assert read.mean() / n_epochs == pytest.approx(share, rel=0.01)
    deviation = np.sqrt(share * (1 - share) / n_epochs)  # of one document: they come together
    assert read[longest].mean() / n_epochs == pytest.approx(share, abs=4 * deviation)


@given(LENGTHS, st.integers(1, 9), BUDGET)
@settings(deadline=None)
def test_evaluation_goes_from_long_to_short_within_its_limits(lengths, bs, budget):
    batches = evaluation_batches(lengths, bs, max_tokens=budget)
    order = np.concatenate([np.array([], int), *batches])
    assert sorted(order) == list(range(len(lengths)))
    assert (np.diff(lengths[order]) <= 0).all()
    for batch in batches:
        assert len(batch) <= bs
        assert budget is None or len(batch) == 1 or padded_tokens(batch, lengths) <= budget


def test_single_document_left_over_joins_the_batch_before_it():
    for n in (9, 4 * 50 + 1, 4 * 50 + 5):  # also where it would be alone in its pool
        sizes = sorted(len(b) for b in training_batches(np.full(n, 10), 4))
        assert sizes == [4] * ((n - 1) // 4 - 1) + [5]


def test_order_is_a_function_of_seed_and_epoch():
    lengths = np.random.default_rng(0).integers(1, 500, 1000)

    def order(seed, epoch):
        return np.concatenate(training_batches(lengths, 8, seed=seed, epoch=epoch)).tolist()

    assert order(1, 2) == order(1, 2)
    assert order(1, 2) != order(1, 3)
    assert order(1, 2) != order(2, 2)


def test_sorting_within_pools_saves_most_of_the_padding():
    lengths = np.random.default_rng(0).lognormal(5.4, 0.7, 5000).astype(int)

    def waste(batches):
        return sum(padded_tokens(b, lengths) for b in batches) / lengths.sum() - 1

    shuffled = np.array_split(np.random.default_rng(1).permutation(5000), 5000 // 32)
    assert waste(training_batches(lengths, 32)) < 0.15 < 1 < waste(shuffled)


TEXTS = st.lists(st.lists(st.integers(0, 9), max_size=12), min_size=1, max_size=20)


@given(TEXTS, st.integers(1, 12), st.booleans(), st.booleans())
@settings(deadline=None)
def test_padding_stands_at_the_end_and_lengths_tell_it_from_text(texts, max_len, backward, shuffle):
    direction = "backward" if backward else "forward"
    batches = documents(texts, bs=3, max_len=max_len, direction=direction, shuffle=shuffle)
    for batch in batches.batches(0):
        assert batch.ids.shape[1] == batch.lengths.max()
        for row, length, place in zip(batch.ids, batch.lengths, batch.places, strict=True):
            read = texts[place][::-1] if backward else texts[place]
            assert row[:length].tolist() == (read[-max_len:] or [1])
            assert (row[length:] == 1).all()


def test_rows_choose_the_documents():
    batches = documents([[5, 6], [7], [8, 9, 4]], rows=np.array([2, 1]), shuffle=False)
    (batch,) = batches.batches(0)
    assert batch.ids.tolist() == [[8, 9, 4], [7, 1, 1]]
    assert batch.places.tolist() == [0, 1]


def test_reading_on_from_any_batch_gives_the_same_batches():
    batches = documents([[n] * (n % 7) for n in range(60)], bs=4, seed=3)
    whole = [b.ids.tolist() for b in batches.batches(5)]
    assert batches.n_batches(5) == len(whole)
    for first in range(len(whole) + 1):
        assert [b.ids.tolist() for b in batches.batches(5, first)] == whole[first:]


def test_reshuffled_leaves_the_original_alone():
    batches = documents([[n] * (n % 7) for n in range(60)], bs=4)
    before = np.concatenate(batches.plan(0)).tolist()
    by_length = np.concatenate(batches.reshuffled(False).plan(0))
    assert (np.diff(batches.lengths[by_length]) <= 0).all()
    assert np.concatenate(batches.plan(0)).tolist() == before


def test_unknown_direction_is_refused():
    with pytest.raises(UserError, match="direction is 'both'"):
        documents([[5]], direction="both")
