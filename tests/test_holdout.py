"""Which documents a language model learns from: laws over random corpora, by plain sets."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulmfit.errors import UserError
from ulmfit.text.holdout import Rows, labelled_rows, lm_rows
from ulmfit.training.config import PROTOCOLS

SPLITS = ("train", "valid", "test", "unsup")


@dataclass(frozen=True)
class FakeCorpus:
    split: list[str]
    lengths: list[int]

    @property
    def offsets(self) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(self.lengths, dtype=np.int64)])

    def rows(self, split: str) -> np.ndarray:
        return np.flatnonzero(np.array(self.split) == split)

    def with_text(self, *splits: str) -> set[int]:
        return {i for i, s in enumerate(self.split) if s in splits and self.lengths[i]}


def corpus(**counts: int) -> FakeCorpus:
    split = [name for name, n in counts.items() for _ in range(n)]
    return FakeCorpus(split, [3] * len(split))


documents = st.lists(st.tuples(st.sampled_from(SPLITS), st.integers(0, 3)), min_size=1, max_size=60)


@given(documents, st.floats(0.01, 0.99), st.sampled_from(PROTOCOLS), st.integers(0, 2**40))
def test_every_document_with_text_is_used_once(documents, share, protocol, seed) -> None:
    corpus = FakeCorpus(*map(list, zip(*documents)))
    learnt = corpus.with_text("train", "unsup", *(() if protocol == "clean" else ("test",)))
    measured = corpus.with_text("valid")
    if len(learnt) < (1 if measured else 2):
        with pytest.raises(UserError, match="with text"):
            lm_rows(corpus, share=share, seed=seed, protocol=protocol)
        return
    rows = lm_rows(corpus, share=share, seed=seed, protocol=protocol)
    train, valid = rows.train.tolist(), rows.valid.tolist()
    assert train == sorted(set(train)) and valid == sorted(set(valid))
    if measured:
        assert (set(train), set(valid)) == (learnt, measured)
    else:
        assert set(train) | set(valid) == learnt and not set(train) & set(valid)
        assert train and valid
        assert abs(len(valid) - share * len(learnt)) <= 1


def held_out(seed: int, n: int = 1_000) -> Rows:
    return lm_rows(corpus(train=n), share=0.1, seed=seed)


def test_the_seed_decides() -> None:
    assert held_out(3).valid.tolist() == held_out(3).valid.tolist()
    assert held_out(3).valid.tolist() != held_out(4).valid.tolist()


def test_the_draw_is_even_and_not_that_of_an_epoch() -> None:
    drawn = np.concatenate([held_out(seed).valid for seed in range(100)])
    counts = np.bincount(drawn // 100, minlength=10)  # of 10,000 in ten equal stretches
    assert ((counts - 1_000) ** 2 / 1_000).sum() < 33.7  # chi-squared, 9 degrees, p = 0.0001
    epoch = np.random.default_rng([0, 0]).permutation(1_000)[:100]
    assert sorted(epoch.tolist()) != held_out(0).valid.tolist()


def test_the_notice_says_what_is_held_out() -> None:
    assert held_out(0, n=25_000).notice == "10% of the documents (2,500) are held out to measure on"
    rows = lm_rows(corpus(train=3, valid=1), share=0.1, seed=0)
    assert rows.notice == "measured on the valid split (1 document)"


def test_documents_of_the_test_split_stay_out_unless_asked_for() -> None:
    some = corpus(train=5, test=4, unsup=3)
    clean, transductive = (lm_rows(some, share=0.2, seed=0, protocol=p) for p in PROTOCOLS[:2])
    assert not set(some.rows("test")) & {*clean.train, *clean.valid}
    assert set(some.rows("test")) <= {*transductive.train, *transductive.valid}


def test_too_few_documents_and_wrong_shares_are_named() -> None:
    with pytest.raises(UserError, match=r"train, unsup have 1 document with text.*at least 2 doc"):
        lm_rows(corpus(train=1, test=9), share=0.1, seed=0)
    with pytest.raises(UserError, match=r"have 0 documents with text.*at least 1 document:"):
        lm_rows(corpus(valid=3), share=0.1, seed=0)
    for share in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(UserError, match="--valid-share is"):
            lm_rows(corpus(train=9), share=share, seed=0)


@dataclass(frozen=True)
class FakeLabels(FakeCorpus):
    labels: np.ndarray
    folder: str = "corpus"
    label_kind: str = "category"
    label_names: tuple[str, ...] = ("a", "b", "c")


def labelled(codes: list[int], valid: list[int] | None = None) -> FakeLabels:
    """Train documents with these label codes, -1 for none, then valid ones, then a labelled test document."""
    valid = valid or []
    split = ["train"] * len(codes) + ["valid"] * len(valid) + ["test"]
    return FakeLabels(split, [3] * len(split), np.array([*codes, *valid, 0]))


codes = st.lists(st.integers(-1, 2), min_size=1, max_size=80)


@given(codes, st.floats(0.05, 0.6), st.integers(0, 2**20))
def test_labelled_documents_are_learnt_from_or_held_out(codes, share, seed) -> None:
    corpus = labelled(codes)
    with_label = {i for i, code in enumerate(codes) if code >= 0}
    try:
        rows = labelled_rows(corpus, share=share, seed=seed)
    except UserError:
        counts = np.bincount([c for c in codes if c >= 0], minlength=3)
        n_free = int(np.maximum(counts - 1, 0).sum())  # one of each label has to stay
        assert (counts > 0).sum() < 2 or n_free == 0 or len(with_label) < 3
        return
    train, valid = set(rows.train.tolist()), set(rows.valid.tolist())
    assert train | valid == with_label and not train & valid
    assert {codes[i] for i in train} == {codes[i] for i in with_label}
    counts = np.bincount([codes[i] for i in with_label], minlength=3)
    wanted = max(1, round(share * len(with_label)))
    assert len(valid) == min(wanted, int(np.maximum(counts - 1, 0).sum()))
    if len(valid) == wanted:
        for label in range(3):  # a label's part of what is held out is its share, to a document
            held_out = sum(codes[i] == label for i in valid)
            assert abs(held_out - wanted * counts[label] / counts.sum()) <= 2


@given(st.integers(4, 60), st.integers(0, 2**20))
def test_a_budget_of_labels_pays_for_what_is_held_out(n, seed) -> None:
    corpus = labelled([i % 3 for i in range(60)])
    rows = labelled_rows(corpus, share=0.2, seed=seed, n_labels=n)
    assert len(rows.train) + len(rows.valid) == n
    with_valid = labelled([i % 3 for i in range(60)], valid=[0, 1, 2, -1])
    rows = labelled_rows(with_valid, share=0.2, seed=seed, n_labels=n)
    assert len(rows.train) == n and rows.valid.tolist() == [60, 61, 62]


@given(st.integers(4, 60), st.integers(0, 2**20), st.booleans())
def test_a_language_model_of_a_budget_reads_its_documents(n, seed, has_valid) -> None:
    corpus = labelled([i % 3 for i in range(60)], valid=[0, 1, 2] if has_valid else None)
    read = lm_rows(corpus, share=0.2, seed=seed, n_labels=n)
    learnt = labelled_rows(corpus, share=0.3, seed=seed, n_labels=n)
    used = [{*rows.train.tolist(), *rows.valid.tolist()} for rows in (read, learnt)]
    assert used[0] == used[1]
    with pytest.raises(UserError, match="--n-labels is 61"):
        lm_rows(corpus, share=0.2, seed=seed, n_labels=61)


@given(st.integers(4, 60), st.integers(0, 2**20))
def test_as_published_a_language_model_of_a_budget_reads_its_documents(n, seed) -> None:
    corpus = labelled([i % 3 for i in range(60)], valid=[0, 1, 2, 0, 1, 2])
    read = lm_rows(corpus, share=0.2, seed=seed, n_labels=n, protocol="as_published")
    learnt = labelled_rows(corpus, share=0.3, seed=seed, n_labels=n, protocol="as_published")
    if set(read.valid.tolist()) & set(learnt.train.tolist()):  # no valid document was left over
        read = replace(read, train=np.union1d(read.train, read.valid))
    assert read.train.tolist() == learnt.train.tolist()
    assert not set(corpus.rows("test")) & {*read.train, *read.valid}


@pytest.mark.parametrize("n", [2, 3])
def test_a_budget_that_is_too_small_is_not_blamed_on_the_documents(n) -> None:
    corpus = labelled([i % 3 for i in range(60)])
    with pytest.raises(UserError, match=rf"a budget of {n} labels is too small.* needs 4 or more"):
        labelled_rows(corpus, share=0.2, seed=0, n_labels=n)
    assert len(labelled_rows(corpus, share=0.2, seed=0, n_labels=4).valid) == 1


def test_a_limit_of_what_is_held_out() -> None:
    texts, labels = corpus(train=1_000), labelled([i % 3 for i in range(900)])
    for most, n in ((7, 7), (None, 100), (2_000, 100)):
        assert len(lm_rows(texts, share=0.1, seed=0, max_valid=most).valid) == n
        rows = labelled_rows(labels, share=1 / 9, seed=0, max_valid=most)
        assert len(rows.valid) == n and len(rows.train) == 900 - n
    assert "0.778% of the labelled documents (7)" in labelled_rows(labels, share=0.5, seed=0, max_valid=7).notice  # fmt: skip


def test_what_no_classifier_can_learn_from_is_refused() -> None:
    for corpus, words in (
        (labelled([0, 0, 0, 0]), "two labels"),
        (labelled([0, 1]), "at least 3"),
        (labelled([0, 1, 2]), "one document"),
        (labelled([-1, -1]), "at least 3"),
    ):
        with pytest.raises(UserError, match=words):
            labelled_rows(corpus, share=0.1, seed=0)
    with pytest.raises(UserError, match="--n-labels is 9"):
        labelled_rows(labelled([0, 1, 0, 1]), share=0.1, seed=0, n_labels=9)


def test_as_published_the_test_labels_choose() -> None:
    corpus = labelled([0, 1, -1, 2], valid=[1])
    clean = labelled_rows(corpus, share=0.2, seed=0)
    assert clean.valid.tolist() == [4] and 5 not in clean.train
    rows = labelled_rows(corpus, share=0.2, seed=0, protocol="as_published")
    assert rows.train.tolist() == [0, 1, 3, 4] and rows.valid.tolist() == [5]
    assert "test split (1 document)" in rows.notice and "clean test result" in rows.notice
    for protocol in ("clean", "transductive"):
        same = labelled_rows(corpus, share=0.2, seed=0, protocol=protocol)
        assert same.valid.tolist() == [4]
    corpus.labels[-1] = -1
    with pytest.raises(UserError, match="no labelled test document"):
        labelled_rows(corpus, share=0.2, seed=0, protocol="as_published")
