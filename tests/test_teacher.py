"""A teacher for few labels: its parts against loops and dense algebra, what it is not told, what a classifier makes of it."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from tiny_lm import write_tiny_lm

import ulmfit
from ulmfit.config import TextConfig
from ulmfit.errors import UserError
from ulmfit.text.corpus import Corpus
from ulmfit.text.holdout import Rows, unlabelled_rows
from ulmfit.training import lesson as lessons
from ulmfit.training.classifier_config import ClassifierConfig
from ulmfit.training.classifier_learner import text_classifier_learner
from ulmfit.training.lesson import Lesson, asked, lacking
from ulmfit.training.linear import LabelledTexts, nbsvm
from ulmfit.training.teacher import counts, directions, standard, surest, teach

pytestmark = pytest.mark.usefixtures("calm")

CONFIG = ClassifierConfig(
    bs=16, seq_len=32, epochs=2, lr=1e-2, schedule="one_cycle", few_labels=100, n_labels=20
)  # fmt: skip
TOPICS = ("sea", "sky")
N_WORDS = 150


def documents(n: int, *, seed: int = 0, length: int = 50) -> pd.DataFrame:
    """Texts of two topics with words of their own, of which one document holds a few, among words of both."""
    draw = np.random.default_rng(seed)
    found = []
    for i in range(n):
        topic = TOPICS[i % 2]
        own = [f"{topic}{k}" for k in draw.integers(N_WORDS, size=10)]
        other = [f"{TOPICS[(i + 1) % 2]}{k}" for k in draw.integers(N_WORDS, size=1)]
        shared = [f"word{k}" for k in draw.integers(200, size=length - 11)]
        text = " ".join(draw.permutation([*own, *other, *shared]))
        split = ("train", "train", "train", "test", "valid")[i // 2 % 5] if i >= n // 2 else "unsup"
        found.append({"text": text, "label": topic, "split": split})
    return pd.DataFrame(found)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """3,200 documents, half of them in unsup, where a corpus keeps no labels."""
    out = tmp_path_factory.mktemp("teacher") / "corpus"
    return ulmfit.prepare(documents(3_200), out, split="split", config=TextConfig(min_freq=1))


def rows_of(corpus: Corpus, config: ClassifierConfig = CONFIG) -> Rows:
    return config.rows(corpus)


def test_counts_are_those_of_a_loop(corpus: Corpus) -> None:
    rows = np.array([5, 0, 17])
    found = counts(corpus, rows).toarray()
    for line, row in zip(found, rows.tolist()):
        expected = Counter(corpus[row].tolist())
        assert {int(i): int(line[i]) for i in np.flatnonzero(line)} == dict(expected)


def test_directions_are_those_of_a_dense_decomposition() -> None:
    draw = np.random.default_rng(0)
    dense = draw.integers(1, 5, size=(300, 60)) * (draw.random((300, 60)) < 0.15)
    dense = np.hstack([dense, np.ones((300, 1)), np.eye(300, 1)])  # said by all, and by one
    kept, n = dense[:, :60], len(dense)
    weights = np.where(kept > 0, 1 + np.log(np.maximum(kept, 1)), 0)
    weights = weights * (np.log((1 + n) / (1 + (kept > 0).sum(0))) + 1)
    weights /= np.maximum(np.linalg.norm(weights, axis=1, keepdims=True), 1e-12)
    u, s, _ = np.linalg.svd(weights, full_matrices=False)
    places = u[:, :50] * s[:50]
    places /= np.maximum(np.linalg.norm(places, axis=1, keepdims=True), 1e-12)
    found = directions(csr_matrix(dense))
    assert found.shape == (300, 50)  # known but for their signs
    assert np.allclose(found @ found.T, places @ places.T, atol=1e-6)


def test_documents_that_are_all_alike_lie_in_one_place() -> None:
    assert not directions(counts_of([[0, 1, 2]] * 50)).any()


def test_a_small_vocabulary_keeps_all_its_words() -> None:
    found = counts_of([[k] for k in range(10)] * 2)
    assert np.allclose(directions(found) @ directions(found).T, np.tile(np.eye(10), (2, 2)))


def counts_of(documents: list[list[int]]) -> csr_matrix:
    dense = np.zeros((len(documents), 1 + max(map(max, documents))))
    for line, document in zip(dense, documents):
        for word in document:
            line[word] += 1
    return csr_matrix(dense)


@pytest.mark.parametrize("n_labels", [2, 3])
def test_the_surest_are_those_of_a_loop(n_labels: int) -> None:
    scores = np.random.default_rng(0).normal(size=(60, n_labels))
    shares = np.linspace(0.1, 0.3, n_labels)
    places, answers = surest(scores, shares)
    for label in range(n_labels):
        ahead = {}
        for place, row in enumerate(scores.tolist()):
            best, second = sorted(row, reverse=True)[:2]
            if row.index(best) == label:
                ahead[place] = best - second
        expected = sorted(ahead, key=lambda place: -ahead[place])[: round(shares[label] * 60)]
        assert sorted(expected) == sorted(places[answers == label].tolist())


def test_scores_on_one_scale() -> None:
    scores = np.random.default_rng(0).normal(3, 7, size=(50, 4))
    found = standard(scores)
    assert np.allclose(found.mean(1), 0) and math.isclose(found.std(), 1)
    assert np.array_equal(found.argmax(1), scores.argmax(1))
    assert not standard(np.ones((3, 2))).any()


def test_texts_without_labels_tell_what_twenty_labels_do_not(corpus: Corpus) -> None:
    rows = rows_of(corpus)
    lesson = teach(corpus, rows.train, asked(corpus, rows, CONFIG))
    assert corpus.labels is not None
    truth = corpus.labels[lesson.rows]
    known = truth >= 0
    right = (truth == lesson.labels)[known].mean()
    given = LabelledTexts.of_corpus(corpus, "train", rows=rows.train)
    others = LabelledTexts.of_corpus(corpus, "train", rows=lesson.rows[known])
    alone = (nbsvm(given)(others.texts).argmax(1) == others.labels).mean()
    assert known.sum() > 500 and right > 0.97 > alone + 0.07


def test_neither_hidden_labels_nor_other_splits_are_read(corpus: Corpus) -> None:
    rows = rows_of(corpus)
    pool = asked(corpus, rows, CONFIG)
    lesson = teach(corpus, rows.train, pool)
    assert corpus.labels is not None
    hidden = np.array(corpus.labels)
    others = np.setdiff1d(np.arange(len(corpus)), rows.train)
    hidden[others] = 1 - hidden[others]
    again = teach(replace(corpus, labels=hidden), rows.train, pool)
    assert np.array_equal(lesson.rows, again.rows) and np.array_equal(lesson.labels, again.labels)
    kept = {*corpus.rows("test").tolist(), *corpus.rows("valid").tolist(), *rows.train.tolist()}
    assert not kept & set(pool.tolist())
    assert len(pool) == 1_600 + 960 - 20  # unsup, and train but for the budget


def test_who_is_not_taught(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    def n_asked(**changes: object) -> int:
        config = replace(CONFIG, **changes)  # type: ignore[arg-type]
        return len(asked(corpus, config.rows(corpus), config))

    assert n_asked() == 2_540
    assert n_asked(few_labels=None) == n_asked(few_labels=20) == n_asked(n_labels=None) == 0
    assert n_asked(few_labels=21) == 2_540
    monkeypatch.setattr(lessons, "MOST", 1_200)
    assert n_asked() == 1_200
    monkeypatch.setattr(lessons, "FEWEST", 1_201)
    assert n_asked() == 0
    monkeypatch.setattr(lessons, "FEWEST", 10)
    monkeypatch.setattr(lessons, "SHORT", 60)
    assert n_asked() == 0


def test_who_lacks_texts_is_told(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    def hint(**changes: object) -> str:
        config = replace(CONFIG, **changes)  # type: ignore[arg-type]
        return lacking(corpus, config.rows(corpus), config)

    assert not hint()  # 2,540 are there
    monkeypatch.setattr(lessons, "FEWEST", 2_540)
    assert not hint()
    monkeypatch.setattr(lessons, "FEWEST", 2_541)
    assert "2,541 or more texts of the same kind" in hint()
    assert not hint(few_labels=None) and not hint(few_labels=20)
    monkeypatch.setattr(lessons, "SHORT", 60)
    assert not hint()


def test_the_same_documents_are_drawn_again(corpus: Corpus) -> None:
    rows = rows_of(corpus)
    one, again, other = (_drawn(corpus, rows, s).tolist() for s in (3, 3, 4))
    assert one == again != other and one == sorted(set(one)) and len(one) == 50

    lengths = np.diff(corpus.offsets)
    n_tokens = [int(lengths[_drawn(corpus, rows, 3, most_tokens=n)].sum()) for n in (49, 500)]
    assert n_tokens[0] == 0 and 500 - lengths.max() < n_tokens[1] <= 500


def _drawn(corpus: Corpus, rows: Rows, seed: int, *, most_tokens: int = 10_000) -> np.ndarray:
    return unlabelled_rows(corpus, rows, seed=seed, most=50, most_tokens=most_tokens)


@pytest.mark.parametrize("enough", [None, 1, 500, 2_000, 10**9])
def test_long_documents_are_not_read_again_and_again(corpus: Corpus, enough: int | None) -> None:
    rows = rows_of(corpus)
    config = replace(CONFIG, min_batches=40, enough_tokens=enough)
    found = Lesson(rows.train[:0], rows.train[:0]).epoch_size(corpus, config, rows, n_groups=4)
    n_tokens = sum(len(corpus[row]) for row in rows.train.tolist()) / len(rows.train) * config.bs
    counted = 1
    while enough is not None and counted < 40 and counted * n_tokens < enough:
        counted += 1
    assert found.min_batches == (40 if enough is None else counted)


@pytest.mark.parametrize(
    ("changes", "few_labels", "is_reread"),
    [
        ({"epochs": 9}, None, False),
        ({"epochs": 10}, None, True),
        ({"epochs": 12, "max_batches": 1}, None, False),
        ({"epochs": 1, "min_batches": 400}, None, True),
        ({"epochs": 10, "min_batches": 2}, 2_000, False),
    ],
)
def test_what_is_read_again_and_again_is_dropped_from_more(
    corpus: Corpus,
    tmp_path: Path,
    changes: dict[str, Any],
    few_labels: int | None,
    is_reread: bool,
) -> None:
    write_tiny_lm(tmp_path / "lm", corpus)
    config = replace(CONFIG, few_labels=few_labels, drop_mult=0.2, reread_drop_mult=0.7, **changes)
    learn = text_classifier_learner(corpus, tmp_path / "lm", config=config)
    n_read = sum(len(ids) for _ in range(config.epochs) for ids, *_ in learn.dls.train)
    assert (n_read >= 10 * len(learn.dls.train.dataset.rows)) == is_reread
    assert learn.model.arch.encoder.drop_mult == (0.7 if is_reread else 0.2)
    plain = replace(config, reread_drop_mult=None)
    again = text_classifier_learner(corpus, tmp_path / "lm", config=plain)
    assert again.model.arch.encoder.drop_mult == 0.2
    with pytest.raises(UserError, match=r"--reread-drop-mult is 9\.0; allowed: 0 or more"):
        replace(config, reread_drop_mult=9.0)


def test_what_is_not_checked_is_read_once(corpus: Corpus) -> None:
    rows = rows_of(corpus)
    pool = asked(corpus, rows, CONFIG)
    lesson = Lesson(pool, np.zeros(len(pool), int))
    config = replace(CONFIG, epochs=5, min_batches=2)
    n_batches = -(-(len(pool) + len(rows.train)) // 16)
    assert lesson.epoch_size(corpus, config, rows, n_groups=4).max_batches == -(-n_batches // 5)
    busy = replace(config, min_batches=999)
    assert lesson.epoch_size(corpus, busy, rows, n_groups=4).max_batches == 999
    bounded = replace(config, max_batches=1, min_batches=None)
    assert lesson.epoch_size(corpus, bounded, rows, n_groups=4).max_batches == 1
    none = Lesson(pool[:0], pool[:0])
    assert none.epoch_size(corpus, config, rows, n_groups=4) == config.epoch_size()
    assert (
        none.known(corpus) is corpus and none.added_to(rows).train.tolist() == rows.train.tolist()
    )
    assert none.notice == ""


def test_a_classifier_learns_from_its_teacher(corpus: Corpus, tmp_path: Path) -> None:
    write_tiny_lm(tmp_path / "lm", corpus)
    learn = text_classifier_learner(corpus, tmp_path / "lm", config=CONFIG)
    lesson, labels = learn.lesson, corpus.labels
    assert labels is not None and len(lesson.rows) > 1_500
    dataset = learn.dls.train.dataset
    assert np.array_equal(dataset.rows, np.union1d(learn.rows.train, lesson.rows))
    codes = dict(zip(lesson.rows.tolist(), lesson.labels.tolist()))
    for row, code in zip(dataset.rows.tolist(), learn.dls.train._labels.tolist()):
        assert code == codes.get(row, labels[row])
    assert np.array_equal(learn.dls.valid.dataset.rows, learn.rows.valid)

    says: list[str] = []
    config = replace(CONFIG, from_scratch=True, drop_mult=0.0, lr=2e-2, factor=1.0, min_batches=100)
    made = ulmfit.train_classifier(
        tmp_path / "lm", corpus, tmp_path / "made", config=config, progress=lambda p: says.append(p.notice or "")
    )  # fmt: skip
    note = " ".join(made.manifest.provenance.notes)
    assert "20 labelled documents" in note and "which a linear model labelled" in note
    assert any("the labels are few" in said for said in says)
    test = corpus.rows("test")
    found = made.logits([corpus[row] for row in test.tolist()], "forward").argmax(1)
    assert (found == labels[test]).mean() > 0.85


def test_beside_a_lesson_the_linear_part_is_twice_as_loud(corpus: Corpus, tmp_path: Path) -> None:
    write_tiny_lm(tmp_path / "lm", corpus)
    config = replace(CONFIG, linear=0.5)
    for few_labels, share in ((config.few_labels, 1.0), (None, 0.5)):
        own = replace(config, few_labels=few_labels)
        learn = text_classifier_learner(corpus, tmp_path / "lm", config=own)
        answering, (encoder, _) = learn.answering(), learn.valid_logits()
        linear = answering.linear
        assert linear is not None and f"is {share:g} times as loud" in answering.notice
        margins = [np.diff(x)[:, 0] for x in (linear.logits(learn.valid_documents()), encoder)]
        loud, other = (np.sqrt((margin**2).mean()) for margin in margins)
        assert loud == pytest.approx(share * other, rel=1e-3)
