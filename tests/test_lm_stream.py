"""The stream against fastai's LMDataLoader, plain concatenation and its own laws."""

from __future__ import annotations

import dataclasses
import json
import tracemalloc

import numpy as np
import pytest
import torch
from fastai.text.data import LMDataLoader, reverse_text
from hypothesis import given, settings
from hypothesis import strategies as st

from ulmfit.errors import UserError
from ulmfit.text import lm_stream
from ulmfit.text.epochs import EpochSize
from ulmfit.text.lm_stream import LMStream, Position

LENGTHS = st.lists(st.integers(0, 40), min_size=1, max_size=30).filter(lambda v: sum(v) >= 2)


def flat(lengths):
    """Make a corpus whose ids are all different: every misplaced token shows."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return np.arange(offsets[-1]).astype(np.uint16), offsets


def stream(lengths, **options):
    ids, offsets = flat(lengths)
    return LMStream(ids, offsets, **{"rows": np.arange(len(lengths)), **options})


def joined(batches):
    """Undo the cutting into batches: (bs, row_length) of inputs and of labels."""
    batches = list(batches)
    return np.hstack([b[:, :-1] for b in batches]), np.hstack([b[:, 1:] for b in batches])


def fastai_batches(lengths, bs, seq_len, direction):
    ids, offsets = flat(lengths)
    documents = [torch.from_numpy(d.astype(np.int64)) for d in np.split(ids, offsets[1:-1])]
    documents = [d for d in documents if len(d)]
    if direction == "backward":
        documents = [reverse_text(d) for d in documents]
    lens = [len(d) for d in documents]
    return list(LMDataLoader(documents, lens=lens, bs=bs, seq_len=seq_len, num_workers=0))


def assert_equals_fastai(lengths, bs, seq_len, direction):
    ours = stream(lengths, bs=bs, seq_len=seq_len, direction=direction, shuffle=False)
    stock = fastai_batches(lengths, ours.bs, seq_len, direction)
    assert ours.n_batches(0) == len(stock)
    for batch, (x, y) in zip(ours.batches(0), stock, strict=True):
        np.testing.assert_array_equal(batch[:, :-1], np.asarray(x))
        np.testing.assert_array_equal(batch[:, 1:], np.asarray(y))


@given(LENGTHS, st.integers(1, 6), st.integers(1, 12), st.sampled_from(["forward", "backward"]))
@settings(max_examples=60, deadline=None)
def test_unshuffled_stream_is_that_of_fastai(lengths, bs, seq_len, direction):
    assert_equals_fastai(lengths, bs, seq_len, direction)


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("n_tokens", [64 * 72 * 3 + 1, 64 * 72 * 3 + 2, 20_000])
def test_usual_sizes_are_those_of_fastai_down_to_the_short_last_batch(n_tokens, direction):
    lengths = [300] * (n_tokens // 300) + [n_tokens % 300]
    assert_equals_fastai(lengths, 64, 72, direction)


@given(LENGTHS, st.integers(0, 2**32), st.integers(0, 50), st.booleans(), st.data())
@settings(max_examples=150, deadline=None)
def test_stream_is_the_concatenation_of_the_chosen_documents(lengths, seed, epoch, jitter, data):
    rows = np.flatnonzero(data.draw(st.lists(st.booleans(), min_size=30, max_size=30)))
    rows = rows[rows < len(lengths)]
    ids, offsets = flat(lengths)
    documents = [d for d in (ids[offsets[r] : offsets[r + 1]] for r in rows) if len(d)]
    if sum(map(len, documents)) < 2:
        return
    ours = LMStream(
        ids, offsets, rows=rows, bs=4, seq_len=5, seed=seed, jitter=jitter, direction="backward"
    )
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, epoch])))
    order = generator.permutation(len(documents))
    whole = np.concatenate([documents[i][::-1] for i in order])
    columns = (len(whole) - 1) // ours.bs
    x, y = joined(ours.batches(epoch))
    np.testing.assert_array_equal(x, whole[: ours.bs * columns].reshape(ours.bs, columns))
    np.testing.assert_array_equal(y, whole[1 : ours.bs * columns + 1].reshape(ours.bs, columns))


def test_epochs_differ_and_are_repeatable():
    ours, again = (stream([3] * 50, bs=4, seq_len=6, seed=7) for _ in range(2))
    first, second = (joined(ours.batches(epoch))[0] for epoch in (0, 1))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(second, joined(again.batches(1))[0])
    assert not np.array_equal(first, joined(stream([3] * 50, bs=4, seed=8).batches(0))[0])


@pytest.mark.parametrize("jitter", [False, True])
def test_reading_on_from_any_batch_gives_the_same_batches(jitter, monkeypatch):
    ours = stream([11] * 90, bs=4, seq_len=6, jitter=jitter)
    whole = list(ours.batches(3))
    monkeypatch.setattr(lm_stream, "BLOCK_TOKENS", 4 * 6 * 3)  # several blocks of three batches
    for first in range(len(whole) + 1):
        rest = list(ours.batches(3, first))
        assert len(rest) == len(whole) - first
        for a, b in zip(rest, whole[first:], strict=True):
            np.testing.assert_array_equal(a, b)


def test_position_travels_through_json():
    text = json.dumps(dataclasses.asdict(Position(epoch=3, batch=14)))
    assert Position(**json.loads(text)) == Position(3, 14)


def test_jitter_has_the_lengths_of_awd_lstm():
    ours = stream([60_000], bs=2, seq_len=70, jitter=True)
    widths = np.concatenate([np.diff(ours.cuts(epoch))[:-1] for epoch in range(60)])
    assert all(np.diff(ours.cuts(epoch))[0] == 70 + 25 for epoch in range(60))
    usual = widths[(widths > 53) & (widths != 95)]
    # int() cuts half a token off the mean of a normal distribution; 5 % are drawn around 35.
    assert usual.mean() == pytest.approx(69.5, abs=0.3)
    assert usual.std() == pytest.approx(5, abs=0.3)
    assert (widths <= 53).mean() == pytest.approx(0.05, abs=0.01)
    assert ours.cuts(0).tolist() != ours.cuts(1).tolist()
    assert ours.n_batches(1) == len(list(ours.batches(1)))


def test_jitter_stays_within_the_batches_of_an_epoch():
    """A row that fills the bound exactly would be cut into more: sequences are shorter on average."""
    size = EpochSize(None, 40)
    ours = stream([32 * 70 * 40 + 1], bs=32, seq_len=70, jitter=True, size=size)
    free = stream([32 * 70 * 40 + 1], bs=32, seq_len=70, jitter=True)
    assert max(free.n_batches(epoch) for epoch in range(6)) > 40
    for epoch in range(6):
        assert ours.n_batches(epoch) == len(list(ours.batches(epoch))) <= 40


def test_short_sequences_jitter_no_lower_than_five():
    widths = np.diff(stream([5000], bs=1, seq_len=6, jitter=True).cuts(0))
    assert widths[:-1].min() == 5


@given(LENGTHS, st.integers(1, 4), st.integers(1, 3), st.booleans())
@settings(max_examples=80, deadline=None)
def test_processes_side_by_side_read_the_batch_of_one_process(lengths, world, bs, jitter):
    if sum(lengths) < world + 1:
        return
    options = {"seq_len": 4, "seed": 5, "jitter": jitter}
    ranks = [stream(lengths, bs=bs, rank=r, world=world, **options) for r in range(world)]
    single = stream(lengths, bs=ranks[0].bs * world, **options)
    if single.bs < ranks[0].bs * world:
        return
    for parts in zip(single.batches(2), *(r.batches(2) for r in ranks), strict=True):
        np.testing.assert_array_equal(np.vstack(parts[1:]), parts[0])


def test_small_corpus_shrinks_the_batch_and_says_so():
    ours = stream([100, 50], bs=64, seq_len=72)
    assert ours.bs == 2
    assert ours.notice == "the training split has only 150 tokens: batch size 2 instead of 64"
    assert stream([2], bs=64).bs == 1
    assert stream([64 * 72 + 1], bs=64).notice is None


@pytest.mark.parametrize(
    ("lengths", "world", "needed"), [([0, 1], 1, 2), ([], 1, 2), ([0], 1, 2), ([2, 1], 3, 4)]
)
def test_too_few_tokens_are_the_users_error(lengths, world, needed):
    message = rf"the valid split has {sum(lengths)} tokens; .* needs at least {needed}\b"
    with pytest.raises(UserError, match=message):
        stream(lengths, world=world, split="valid")


def test_unknown_direction_is_refused():
    with pytest.raises(UserError, match="direction is 'both'; allowed: forward, backward"):
        stream([9], direction="both")


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.int32])
def test_memory_mapped_ids_are_read_and_never_copied(tmp_path, dtype):
    values = np.random.default_rng(0).integers(0, 60_000, 4_000_000).astype(dtype)
    values.tofile(tmp_path / "ids.bin")
    ids = np.memmap(tmp_path / "ids.bin", dtype, mode="r")
    offsets = np.arange(0, len(ids) + 1, 1000)
    tracemalloc.start()
    ours = LMStream(ids, offsets, rows=np.arange(4000))
    first = next(ours.batches(0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert first.dtype == np.int64
    assert peak < ids.nbytes / 2
    document = ours.order(0)[0]
    np.testing.assert_array_equal(first[0], values[offsets[document] :][:73])
