"""Arrays too large to be mapped as a whole, against the same array in memory."""

from __future__ import annotations

import copy
import pickle
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulmfit import UserError
from ulmfit.text import windows
from ulmfit.text.buckets import DocumentBatches
from ulmfit.text.corpus import Corpus
from ulmfit.text.lm_stream import LMStream
from ulmfit.text.windows import WindowedArray, open_flat

N = 1_000


def make_small(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(windows, "WINDOW_BYTES", 300)
    patch.setattr(windows, "WHOLE_BYTES", 300)


@pytest.fixture
def small_windows(demo_corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    make_small(monkeypatch)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple:
    numbers = np.random.default_rng(0).integers(0, 60_000, N).astype(np.uint16)
    path = tmp_path_factory.mktemp("flat") / "ids.npy"
    np.save(path, numbers)
    with pytest.MonkeyPatch.context() as patch:
        make_small(patch)
        windowed = open_flat(path)
    assert isinstance(windowed, WindowedArray)
    return numbers, windowed


limits = st.one_of(st.none(), st.integers(-N - 5, N + 5))


@given(limits, limits, st.sampled_from([None, 1, 3, -1, -7]))
def test_slices(both: tuple, start: int | None, stop: int | None, step: int | None) -> None:
    numbers, windowed = both
    found = windowed[start:stop:step]
    assert found.dtype == numbers.dtype
    assert np.array_equal(found, numbers[start:stop:step])


@given(st.lists(st.integers(-N, N - 1), max_size=60), st.sampled_from([1, 2, 3]))
def test_arrays_of_places(both: tuple, places: list[int], rows: int) -> None:
    numbers, windowed = both
    index = np.array(places * rows, np.int64).reshape(rows, -1)
    assert np.array_equal(windowed[index], numbers[index])


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be replaced there")
def test_a_file_that_is_replaced_is_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_small(monkeypatch)
    np.save(tmp_path / "ids.npy", np.arange(N))
    np.save(tmp_path / "other.npy", np.zeros(N, np.int64))
    monkeypatch.chdir(tmp_path)
    windowed = open_flat(Path("ids.npy"))
    again = copy.deepcopy(windowed)
    monkeypatch.chdir("/")
    (tmp_path / "other.npy").replace(tmp_path / "ids.npy")
    for array in (windowed, again):
        assert np.array_equal(array[:], np.arange(N))
        assert array[np.array([N - 1])] == N - 1
    assert not pickle.loads(pickle.dumps(windowed))[:].any()


def test_what_else_an_array_answers(both: tuple) -> None:
    numbers, windowed = both
    assert windowed[-1] == numbers[-1]
    assert len(windowed) == N
    assert np.array_equal(np.asarray(windowed), numbers)
    assert np.asarray(windowed, np.int64).dtype == np.int64
    for place in (N, -N - 1):
        with pytest.raises(IndexError, match="outside"):
            windowed[np.array([0, place])]


@pytest.fixture
def in_windows(demo_corpus: Corpus, small_windows: None) -> Corpus:
    corpus = Corpus.load(demo_corpus.folder)
    assert isinstance(corpus.ids, WindowedArray)
    return corpus


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_batches_are_the_same(demo_corpus: Corpus, in_windows: Corpus, direction: str) -> None:
    rows = demo_corpus.rows("train")
    for reader, some in ((LMStream, {"seq_len": 20, "jitter": True}), (DocumentBatches, {})):
        whole, parts = (
            reader(c.ids, c.offsets, rows=rows, bs=16, direction=direction, **some)
            for c in (demo_corpus, in_windows)
        )
        pairs = list(zip(whole.batches(1), parts.batches(1), strict=True))
        assert len(pairs) > 5
        for pair in pairs:
            one, other = (getattr(batch, "ids", batch) for batch in pair)
            assert np.array_equal(one, other)


def test_a_corpus_shows_the_same(demo_corpus: Corpus, in_windows: Corpus) -> None:
    assert in_windows.summary() == demo_corpus.summary()
    assert [in_windows.text(row) for row in range(20)] == [demo_corpus.text(r) for r in range(20)]


@pytest.mark.parametrize("damage", ["cut off", "too large an id", "two columns", "objects"])
def test_damage_is_one_line(
    demo_corpus: Corpus, small_windows: None, tmp_path: Path, damage: str
) -> None:
    folder = shutil.copytree(demo_corpus.folder, tmp_path / "corpus")
    path = folder / "ids.npy"
    ids = np.load(path)
    if damage == "cut off":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "too large an id":
        ids[-1] = len(demo_corpus.vocab)
        np.save(path, ids)
    elif damage == "two columns":
        np.save(path, ids[: len(ids) // 2 * 2].reshape(-1, 2))
    else:
        np.save(path, ids.astype(object), allow_pickle=True)
    with pytest.raises(UserError, match=r"ids\.npy .*(read|changed).*ulmfit prepare"):
        Corpus.load(folder)
