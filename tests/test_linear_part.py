"""The linear part beside the encoder: against loops, against scikit-learn's NB-SVM, and in a classifier that has one."""

from __future__ import annotations

import functools
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import minimize_scalar
from sklearn.feature_extraction.text import CountVectorizer
from tiny_lm import write_tiny_lm

import ulmfit
from ulmfit.errors import UserError
from ulmfit.inference.answers import log_probabilities
from ulmfit.models.compact import compact
from ulmfit.models.linear_part import LinearPart, key_bounds, n_grams
from ulmfit.models.pair import save_language_model_pair
from ulmfit.text.corpus import Corpus
from ulmfit.training import linear_part
from ulmfit.training.classifier_config import ClassifierConfig
from ulmfit.training.classifier_learner import text_classifier_learner
from ulmfit.training.linear import LabelledTexts, fit_nbsvm
from ulmfit.training.linear_part import (
    FEW,
    LONG,
    OF_FEW_LONG,
    OF_LONG,
    TAUGHT,
    as_loud,
    fit_linear_part,
    loudness,
)
from ulmfit.training.temperature import USUAL, WEIGHT

pytestmark = pytest.mark.usefixtures("calm")

N_VOCAB, N_OUTPUTS = 7, 3
CONFIG = ClassifierConfig(
    bs=8, seq_len=16, epochs=1, lr=1e-2, schedule="full", drop_mult=0.2, max_len=64, valid_share=0.3, linear=0.5
)  # fmt: skip
DOCUMENTS = st.lists(st.lists(st.integers(0, N_VOCAB - 1), max_size=9).map(np.array), max_size=5)


def random_part(seed: int = 0, share: float = 0.5, *, longest: int = 4) -> LinearPart:
    """Give weights to some of all n-grams."""
    draw = np.random.default_rng(seed)
    every = np.arange(sum(N_VOCAB**length for length in range(1, longest + 1)))
    grams = np.sort(draw.permutation(every)[: int(share * len(every))])
    weights = draw.normal(size=(len(grams), N_OUTPUTS)).astype(np.float32)
    return LinearPart(N_VOCAB, grams, weights, draw.normal(size=N_OUTPUTS).astype(np.float32))


def keys_by_hand(ids: list[int], n_vocab: int, *, longest: int = 4) -> list[tuple[int, int, int]]:
    """List the n-grams: length, place of the first token, and key, the number that all tokens make."""
    found = []
    for length in range(1, longest + 1):
        for first in range(len(ids) - length + 1):
            key = functools.reduce(
                lambda key, token: n_vocab * (1 + key) + token, ids[first : first + length], -1
            )
            found.append((length, first, key))
    return found


def logits_by_hand(part: LinearPart, ids: list[int]) -> np.ndarray:
    known = dict(zip(part.grams.tolist(), part.weights.astype(float)))
    grams = {key for _, _, key in keys_by_hand(ids, N_VOCAB)}
    return part.bias + sum((known[g] for g in grams if g in known), np.zeros(N_OUTPUTS))


# --- answers


@settings(max_examples=150, deadline=None)
@given(
    documents=DOCUMENTS,
    seed=st.integers(0, 3),
    share=st.sampled_from([0.0, 0.5, 1.0]),
    longest=st.integers(1, 4),
)
def test_logits_are_those_of_a_loop(
    documents: list[np.ndarray], seed: int, share: float, longest: int
) -> None:
    part = random_part(seed, share, longest=longest)
    found = part.logits(documents)
    assert found.shape == (len(documents), N_OUTPUTS) and found.dtype == np.float32
    for document, logits in zip(documents, found):
        np.testing.assert_allclose(logits, logits_by_hand(part, document.tolist()), atol=1e-5)
        assert (part.logits([document])[0] == logits).all()  # alone: to the last bit


@settings(max_examples=100, deadline=None)
@given(ids=st.lists(st.integers(0, N_VOCAB - 1), max_size=12).map(np.array))
def test_what_tokens_gave_adds_up(ids: np.ndarray) -> None:
    part = random_part()
    parts = part.token_parts(ids)
    assert parts.shape == (len(ids), N_OUTPUTS)
    np.testing.assert_allclose(parts.sum(0) + part.bias, part.logits([ids])[0], atol=1e-5)


def test_an_n_gram_is_shared_by_its_tokens_and_a_token_by_its_places() -> None:
    weights = np.array([[6.0, 0, 0], [8.0, 0, 0], [3.0, 0, 0]], np.float32)
    keys = [keys_by_hand(gram, N_VOCAB)[-1][2] for gram in ([2], [2, 4], [5, 2, 4])]
    part = LinearPart(N_VOCAB, np.array(keys), weights, np.zeros(3, np.float32))
    # Token 2 stands twice and has 6; the pair (2, 4) stands once and has 8, (5, 2, 4) has 3.
    assert part.token_parts(np.array([2, 5, 2, 4]))[:, 0].tolist() == [3, 1, 8, 5]


def test_keys_have_room_in_64_bits() -> None:
    assert key_bounds(7) == [7, 7 + 7**2, 7 + 7**2 + 7**3, 7 + 7**2 + 7**3 + 7**4]
    assert key_bounds(1) == [1, 2, 3, 4]
    for n_vocab, longest in (55_000, 4), (56_000, 3), (2_000_000, 3), (3_000_000, 2):
        assert len(key_bounds(n_vocab)) == longest
        ids = [n_vocab - 1] * 4
        last = [
            keys[-1] for _, _, keys in n_grams([np.array(ids)], n_vocab=n_vocab, longest=longest)
        ]
        assert [int(key) + 1 for key in last] == key_bounds(n_vocab)


# --- learning


def as_texts(corpus: Corpus, rows: np.ndarray) -> LabelledTexts:
    """Write tokens as words, since the vectorizer would not see those that are white space."""
    texts = [" ".join(f"t{number}" for number in corpus[row]) for row in rows.tolist()]
    assert corpus.labels is not None
    return LabelledTexts(texts, corpus.labels[rows], corpus.label_names, is_tokenized=True)  # fmt: skip


@pytest.mark.parametrize("is_long", [False, True])
@pytest.mark.parametrize("n_labels", [2, 3])
def test_it_is_the_nbsvm_of_scikit_learns_vectorizer(
    demo_corpus: Corpus, n_labels: int, is_long: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus, rows = demo_corpus, demo_corpus.rows("train")[:80]
    if n_labels == 3:  # a label for the third of the documents that are the shortest
        labels = np.array(corpus.labels)
        sizes = np.diff(corpus.offsets)[rows]
        labels[rows[sizes <= np.quantile(sizes, 1 / 3)]] = 2
        manifest = replace(corpus.manifest, label_names=(*corpus.label_names, "short"))
        corpus = replace(corpus, labels=labels, manifest=manifest)
    monkeypatch.setattr(linear_part, "LONG", 1 if is_long else 10_000)
    others = demo_corpus.rows("train")[80:120]
    train, texts = as_texts(corpus, rows), as_texts(corpus, others).texts
    vectorizer = CountVectorizer(
        binary=True,
        dtype=np.float64,
        token_pattern=r"\S+",
        ngram_range=(1, 4) if is_long else (1, 2),
        min_df=2 if is_long else 1,
    )
    classes, weights, biases = fit_nbsvm(vectorizer.fit_transform(train.texts), train.labels)
    expected = vectorizer.transform(texts) @ weights + biases
    assert classes.tolist() == list(range(n_labels))
    found = fit_linear_part(corpus, rows, seed=0).logits([corpus[row] for row in others.tolist()])
    centred = expected - expected.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(found, centred, atol=0.01 * centred.std())
    np.testing.assert_allclose(found.sum(axis=1), 0, atol=1e-4)


def test_a_label_without_documents_is_neither_likely_nor_unlikely(demo_corpus: Corpus) -> None:
    manifest = replace(demo_corpus.manifest, label_names=(*demo_corpus.label_names, "never"))
    corpus = replace(demo_corpus, manifest=manifest)
    part = fit_linear_part(corpus, corpus.rows("train")[:50], seed=0)
    assert part.weights.shape[1] == 3 and not part.weights[:, 2].any() and part.bias[2] == 0


def test_one_label_alone_teaches_nothing(demo_corpus: Corpus) -> None:
    assert demo_corpus.labels is not None
    rows = demo_corpus.rows("train")
    same = rows[demo_corpus.labels[rows] == 1][:5]
    assert not fit_linear_part(demo_corpus, same, seed=0).logits([demo_corpus[same[0]]]).any()


@pytest.mark.parametrize("is_long", [False, True])
def test_of_many_n_grams_those_that_say_most_are_kept(
    demo_corpus: Corpus, is_long: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, n_vocab = demo_corpus.rows("train")[:100], len(demo_corpus.vocab)
    monkeypatch.setattr(linear_part, "LONG", 1 if is_long else 10_000)
    counts = Counter[int]()
    for row in rows.tolist():
        grams = keys_by_hand(demo_corpus[row].tolist(), n_vocab, longest=4 if is_long else 2)
        counts.update({key for _, _, key in grams})
    every = fit_linear_part(demo_corpus, rows, seed=0)
    assert every.grams.tolist() == sorted(g for g, n in counts.items() if n > 1 or not is_long)
    said = {
        gram: float(np.abs(weights).max()) * math.sqrt(counts[gram])
        for gram, weights in zip(every.grams.tolist(), every.weights)
    }
    monkeypatch.setattr(linear_part, "MOST_GRAMS", 200)
    part = fit_linear_part(demo_corpus, rows, seed=0)
    kept = part.grams.tolist()
    assert len(kept) == 200 and kept == sorted(kept)
    least = min(said[gram] for gram in kept)
    assert least >= max(value for gram, value in said.items() if gram not in set(kept)) - 1e-9
    assert (part.weights == every.weights[np.isin(every.grams, part.grams)]).all()


def test_of_very_many_documents_some_are_drawn(
    demo_corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = demo_corpus.rows("train")
    sizes = np.diff(demo_corpus.offsets)
    monkeypatch.setattr(linear_part, "MOST_TOKENS", 5_000)
    drawn = linear_part._at_most(demo_corpus, rows, seed=3)
    assert 4_000 < sizes[drawn].sum() <= 5_000 and (np.diff(drawn) > 0).all()
    assert (drawn == linear_part._at_most(demo_corpus, rows, seed=3)).all()
    assert np.isin(drawn, rows).all()


def test_it_speaks_as_loud_as_it_is_told(demo_corpus: Corpus) -> None:
    rows = demo_corpus.rows("train")
    documents = [demo_corpus[row] for row in rows[80:120].tolist()]
    part = fit_linear_part(demo_corpus, rows[:80], seed=0)
    logits = np.random.default_rng(0).normal(3.0, 2.0, (40, 2))
    scaled = as_loud(part, logits, documents, share=0.25).logits(documents)
    margins = scaled[:, 1] - scaled[:, 0], logits[:, 1] - logits[:, 0]
    # Of two labels the distance from their mean is half the margin.
    own, other = (np.sqrt((margin**2).mean()) for margin in margins)
    assert own == pytest.approx(0.25 * other, rel=1e-4)
    silent = as_loud(part, np.zeros((40, 2)), documents, share=0.25)
    assert not silent.logits(documents).any()


# --- in a file


def test_what_was_stored_comes_back() -> None:
    part = random_part()
    where = {"n_vocab": N_VOCAB, "n_outputs": N_OUTPUTS, "where": "here"}
    again = LinearPart.from_bytes(part.to_bytes(), **where)
    for name in ("grams", "weights", "bias"):
        assert (getattr(again, name) == getattr(part, name)).all()
    nothing = replace(part, grams=part.grams[:0], weights=part.weights[:0])
    assert not len(LinearPart.from_bytes(nothing.to_bytes(), **where).grams)


@pytest.mark.parametrize(
    "damage",
    [
        {"grams": np.array([3, 2, 5])},
        {"grams": np.array([3, 3, 5])},
        {"grams": np.array([-1, 3, 5])},
        {"grams": np.array([3, 5, key_bounds(N_VOCAB)[-1]])},
        {"grams": np.array([3.0, 4, 5])},
        {"weights": np.zeros((3, N_OUTPUTS + 1), np.float32)},
        {"weights": np.full((3, N_OUTPUTS), np.nan, np.float32)},
        {"bias": np.zeros(N_OUTPUTS)},
    ],
)
def test_a_part_of_something_else_is_refused(damage: dict[str, np.ndarray]) -> None:
    part = LinearPart(
        N_VOCAB, np.array([3, 4, 5]), np.zeros((3, N_OUTPUTS), np.float32), np.zeros(N_OUTPUTS, np.float32)
    )  # fmt: skip
    where = {"n_vocab": N_VOCAB, "n_outputs": N_OUTPUTS, "where": "here"}
    assert LinearPart.from_bytes(part.to_bytes(), **where)
    with pytest.raises(UserError, match="here is not the linear part of this classifier"):
        LinearPart.from_bytes(replace(part, **damage).to_bytes(), **where)
    with pytest.raises(UserError, match="here is not a safetensors file"):
        LinearPart.from_bytes(b"damaged", **where)


# --- in a classifier


@pytest.fixture(scope="module", params=["forward", "backward", "both"])
def trained(
    request: pytest.FixtureRequest, demo_corpus: Corpus, tmp_path_factory: pytest.TempPathFactory
) -> ulmfit.Classifier:
    home = tmp_path_factory.mktemp(request.param)
    names = ("forward", "backward") if request.param == "both" else (request.param,)
    for name in names:
        write_tiny_lm(home / name, demo_corpus, direction=name)
    lm = home / names[0]
    if len(names) == 2:
        lm, folders = home / "pair", {name: home / name for name in names}
        save_language_model_pair(lm, **folders, settings={"stage": "a test"})
    config = replace(CONFIG, direction=request.param)
    return ulmfit.train_classifier(lm, demo_corpus, home / "classifier", config=config, progress=lambda _: None)  # fmt: skip


def held_out(classifier: ulmfit.Classifier, corpus: Corpus) -> tuple[list[np.ndarray], np.ndarray]:
    rows = CONFIG.rows(corpus).valid
    assert corpus.labels is not None
    return [corpus[row] for row in rows.tolist()], corpus.labels[rows]


def test_its_logits_are_added(trained: ulmfit.Classifier, demo_corpus: Corpus) -> None:
    documents, truth = held_out(trained, demo_corpus)
    linear = trained.parts.linear
    assert linear is not None and linear.logits(documents).any()
    logits = []
    for name in trained.directions:
        encoder = trained.encoder_logits(documents, name)
        whole = trained.logits(documents, name)
        np.testing.assert_allclose(whole, encoder + linear.logits(documents), atol=1e-6)
        logits.append(whole)
    found = log_probabilities(np.stack(logits), trained.parts.labels)
    metrics = trained.manifest.provenance.metrics
    assert metrics["valid_accuracy_with_linear"] == pytest.approx((found.argmax(1) == truth).mean())
    assert "valid_accuracy_with_linear_backward" not in metrics  # it is learnt once

    before = stats.gamma(a=WEIGHT + 1, scale=1 / (WEIGHT * USUAL))  # of 1 / temperature

    def surprise(log_temperature: float) -> float:
        scaled = found / np.exp(log_temperature)
        scaled = scaled - np.logaddexp.reduce(scaled, axis=1, keepdims=True)
        density = float(before.logpdf(np.exp(-log_temperature)))
        return -scaled[np.arange(len(truth)), truth].sum() - density

    best = minimize_scalar(surprise, bounds=(np.log(0.05), np.log(20)), method="bounded").x
    assert surprise(np.log(trained.temperature)) == pytest.approx(surprise(best), abs=1e-3)


def test_it_is_half_as_loud_as_the_encoder(trained: ulmfit.Classifier, demo_corpus: Corpus) -> None:
    documents, _ = held_out(trained, demo_corpus)
    linear = trained.parts.linear
    assert linear is not None
    encoder = trained.encoder_logits(documents, trained.directions[0])
    margins = [np.diff(logits).std() for logits in (linear.logits(documents), encoder)]
    means = [np.diff(logits).mean() for logits in (linear.logits(documents), encoder)]
    own, other = (np.hypot(m, s) for m, s in zip(means, margins))
    assert own == pytest.approx(0.5 * other, rel=1e-3)
    said = f"a linear part of {len(linear.grams):,} n-grams is 0.5 times as loud as the encoder"
    assert said in trained.manifest.provenance.notes[0]


def test_it_is_louder_beside_long_documents_and_most_with_few_labels() -> None:
    lengths = np.repeat([LONG, LONG - 1], [2 * FEW, FEW])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    corpus: Any = SimpleNamespace(offsets=offsets)
    long, short = np.arange(2 * FEW), np.arange(2 * FEW, 3 * FEW)
    mostly_long = np.concatenate([long[:51], short[:49]])
    mostly_short = np.concatenate([long[:49], short[:51]])

    def times(rows: np.ndarray, *, is_taught: bool = False) -> float:
        return loudness(corpus, rows, is_taught=is_taught)

    assert times(long[: FEW - 1]) == times(mostly_long) == OF_FEW_LONG
    assert times(long[:FEW]) == times(long) == OF_LONG
    assert times(mostly_short) == times(short[:10]) == times(short) == 1
    assert times(short, is_taught=True) == times(long[:9], is_taught=True) == TAUGHT


@pytest.mark.parametrize("method", ["pooling", "integrated_gradients"])
def test_explanations_hand_out_what_it_gave(trained: ulmfit.Classifier, method: str) -> None:
    text = "a dull plot, a superb cast and so so so good music"
    found = trained.explain(text, method=method, precision="fp32")
    ids, linear = trained.encode([text])[0], trained.parts.linear
    assert linear is not None
    column = trained.labels.index(found.label)
    gave = linear.token_parts(ids) @ (2 * np.eye(2)[column] - 1) / trained.temperature
    # Of two labels the log-odds are linear in the logits: the encoder's weights are as without it.
    plain = ulmfit.Classifier(replace(trained.parts, linear=None))
    without = plain.explain(text, method=method, label=found.label, precision="fp32")
    for reading, other in zip(found.readings, without.readings, strict=True):
        logits = trained.logits([ids], reading.direction, precision="fp32")[0] / trained.temperature
        margin = logits[column] - logits[1 - column]
        assert reading.score == pytest.approx(margin, abs=1e-4)
        added = np.subtract(reading.weights, other.weights)
        assert added.any() and added.sum() == pytest.approx(gave[1:].sum(), abs=1e-4)
        if reading.parts is not None:
            np.testing.assert_allclose(reading.parts.linear, added, atol=1e-4)


def test_it_goes_where_the_folder_goes(trained: ulmfit.Classifier, tmp_path: Path) -> None:
    compact(trained.folder, tmp_path / "small")
    small = ulmfit.load(tmp_path / "small")
    assert "Linear part: NB-SVM" in (small.folder / "README.md").read_text()
    texts = ["a dull plot", "superb"]
    assert np.abs(small.predict_proba(texts) - trained.predict_proba(texts)).max() < 0.05
    path = small.folder / "linear.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(UserError, match=r"linear.safetensors was changed or cut off"):
        ulmfit.load(small.folder)


def test_a_notebooks_learner_has_it_too(demo_corpus: Corpus, tmp_path: Path) -> None:
    write_tiny_lm(tmp_path / "lm", demo_corpus)
    learn = text_classifier_learner(demo_corpus, tmp_path / "lm", config=CONFIG)
    saved = learn.save_model(tmp_path / "with")
    assert saved.parts.linear is not None
    assert "0.5 times as loud" in saved.manifest.provenance.notes[0]
    plain = text_classifier_learner(demo_corpus, tmp_path / "lm", config=replace(CONFIG, linear=None))  # fmt: skip
    alone = plain.save_model(tmp_path / "without")
    assert alone.parts.linear is None and "loud" not in alone.manifest.provenance.notes[0]


def test_as_loud_as_nothing_is_no_setting() -> None:
    with pytest.raises(UserError, match="--linear is 0; allowed: a number above 0, or none"):
        ClassifierConfig(linear=0)
