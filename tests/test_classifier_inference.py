"""Answers for texts: stock fastai's for the text alone, whatever the company, order, thread and window."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from itertools import count
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stock_classifier import stock_alone, stock_classifier
from tiny_classifier import write_tiny_classifier

import ulmfit
from ulmfit.errors import UserError
from ulmfit.inference import classifier as module
from ulmfit.inference import texts as texts_module
from ulmfit.inference.answers import confidence, decide, probabilities
from ulmfit.inference.bulk import AnswerTable
from ulmfit.inference.classifier import Classifier
from ulmfit.inference.texts import TextEncoder
from ulmfit.models.label_set import LabelSet
from ulmfit.models.precision import whole_range
from ulmfit.text.corpus import Corpus
from ulmfit.text.rows import Rows, lines_of
from ulmfit.text.tokenizers import build_tokenizer

pytestmark = pytest.mark.usefixtures("calm")

CLOSE = 1e-5
TEXTS = [
    "A fine film!",
    "",
    "Not so good, " * 60,
    "dull",
    "xxpad xxbos \n\n Sooooo BORING 10/10 \N{PILE OF POO}",
    "Это фильм. 这是一部电影。 " * 3,
    "word " * 71,
    "half \ud83d a pair",
    "<br />",
]


@pytest.fixture(
    scope="module",
    params=[("both", "awd_lstm"), ("backward", "awd_lstm"), ("forward", "qrnn")],
    ids="-".join,
)
def clf(
    request: pytest.FixtureRequest, demo_corpus: Corpus, tmp_path_factory: pytest.TempPathFactory
) -> Classifier:
    direction, backbone = request.param
    out = tmp_path_factory.mktemp("classifier") / "model"
    return Classifier(
        write_tiny_classifier(out, demo_corpus, direction=direction, backbone=backbone)
    )


@pytest.fixture(scope="module")
def both(demo_corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("both") / "model"
    return write_tiny_classifier(out, demo_corpus, direction="both").folder


def exact(clf: Classifier, texts: list[str]) -> np.ndarray:
    return clf.predict_proba(texts, precision="fp32")


# --- the numbers


def test_both_directions_are_averaged_stock_fastai(both: Path) -> None:
    clf = ulmfit.load(both)
    assert type(clf) is ulmfit.Classifier is Classifier
    found = {
        name: clf.predict_proba(TEXTS, precision="fp32", direction=name) for name in clf.directions
    }
    for name, per_direction in found.items():
        stock = stock_classifier(clf.parts.model(name))
        for text, row in zip(TEXTS, per_direction):
            tokens = next(clf.tokenizer.tokenize([text]))
            ids = clf.vocab.encode(tokens).tolist()
            expected = stock_alone(stock, ids if name == "forward" else ids[::-1]).softmax(0)
            np.testing.assert_allclose(row, expected.numpy(), atol=CLOSE, rtol=0)
    mean = (found["forward"] + found["backward"]) / 2
    np.testing.assert_allclose(exact(clf, TEXTS), mean, atol=1e-9, rtol=0)
    assert np.abs(found["forward"] - found["backward"]).max() > 0.05


WORDS = st.sampled_from(["film", "The", "GREAT", "!!!!", "so", "unheardof", "10", "xxpad"])
DOCUMENTS = st.builds(
    lambda words, n: " ".join(words * n), st.lists(WORDS, max_size=6), st.sampled_from([1, 2, 40])
)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(texts=st.lists(DOCUMENTS, min_size=1, max_size=6), order=st.randoms(use_true_random=False))
def test_company_and_order_change_nothing(clf: Classifier, texts: list[str], order) -> None:
    shuffled = [*texts, *TEXTS[:4]]
    order.shuffle(shuffled)
    for text, row in zip(shuffled, exact(clf, shuffled)):
        np.testing.assert_allclose(row, exact(clf, [text])[0], atol=CLOSE, rtol=0)


@pytest.mark.parametrize("missing", [None, math.nan, pd.NA], ids=str)
def test_a_missing_text_is_an_empty_one(clf: Classifier, missing: Any) -> None:
    texts = pd.Series(["a fine film", missing], dtype=object)
    np.testing.assert_array_equal(exact(clf, texts), exact(clf, ["a fine film", ""]))
    assert clf.predict_frame(texts)["text"].tolist() == ["a fine film", ""]


def test_threads_do_not_meet(both: Path) -> None:
    clf = Classifier.load(both)  # fresh: the first calls build tokenizer and modules at once
    jobs = [TEXTS[i:] + TEXTS[:i] for i in range(len(TEXTS))] * 3
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda job: exact(clf, job), jobs))
    alone = {text: exact(clf, [text])[0] for text in TEXTS}
    for job, rows in zip(jobs, found):
        np.testing.assert_allclose(rows, [alone[text] for text in job], atol=CLOSE, rtol=0)


def test_others_may_use_the_tokenizer_meanwhile(both: Path) -> None:
    clf = Classifier.load(both)
    expected = exact(Classifier.load(both), TEXTS)
    is_over = Event()

    def tokenize() -> None:
        for n in count():
            list(clf.tokenizer.tokenize([f"word{n}", *TEXTS]))
            clf.tokenizer.forget()
            if is_over.is_set():
                return

    with ThreadPoolExecutor(6) as pool:
        others = [pool.submit(tokenize) for _ in range(2)]
        found = list(pool.map(lambda _: exact(clf, TEXTS), range(40)))
        is_over.set()
    assert not any(other.exception() for other in others)
    for rows in [*found, exact(clf, TEXTS)]:
        np.testing.assert_allclose(rows, expected, atol=CLOSE, rtol=0)


def test_an_autocast_around_changes_nothing(clf: Classifier) -> None:
    expected = exact(clf, TEXTS)
    with torch.autocast("cpu", torch.bfloat16):
        np.testing.assert_array_equal(exact(clf, TEXTS), expected)


def test_bf16_only_rounds(clf: Classifier) -> None:
    together = clf.predict_proba(TEXTS, precision="bf16")
    for text, row in zip(TEXTS, together):
        alone = clf.predict_proba([text], precision="bf16")[0]
        np.testing.assert_allclose(row, alone, atol=5e-3, rtol=0)
    difference = np.abs(together - exact(clf, TEXTS)).max()
    assert 0 < difference <= 0.05


@pytest.mark.skipif(whole_range() is None, reason="torch has no int8 products here")
def test_int8_is_coarse_and_the_same_in_any_company(both: Path) -> None:
    clf = Classifier.load(both)
    together = clf.predict_proba(TEXTS, precision="int8")
    for text, row in zip(TEXTS, together):
        alone = clf.predict_proba([text], precision="int8")[0]
        np.testing.assert_allclose(row, alone, atol=CLOSE, rtol=0)
    difference = np.abs(together - exact(clf, TEXTS)).max()
    assert 0 < difference <= 0.05
    assert not np.array_equal(together, clf.predict_proba(TEXTS, precision="bf16"))


def test_int8_is_refused_where_torch_has_none(both: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "whole_range", lambda: None)
    with pytest.raises(UserError, match="--precision is 'int8', and torch has no products"):
        Classifier.load(both).predict(["a"], precision="int8")


def test_ids_instead_of_texts(clf: Classifier) -> None:
    documents = clf.encode(TEXTS)
    expected = list(clf.tokenizer.tokenize(TEXTS))
    assert [clf.vocab.decode(ids) for ids in documents] == [
        clf.vocab.decode(clf.vocab.encode(tokens)) for tokens in expected
    ]
    found = clf.probabilities(documents, precision="fp32")
    np.testing.assert_allclose(found, exact(clf, TEXTS), atol=1e-12, rtol=0)
    empty = clf.probabilities([np.empty(0, np.int64), documents[0]], precision="fp32")
    assert np.isfinite(empty).all() and clf.encode([]) == []


# --- the answers


def test_every_text_has_an_answer(clf: Classifier) -> None:
    found, labels = clf.predict_proba(TEXTS), clf.predict(TEXTS)
    assert found.shape == (len(TEXTS), 3) and labels.shape == (len(TEXTS),)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-12)
    assert labels.tolist() == [clf.labels[i] for i in found.argmax(1)]
    assert clf.predict([]).shape == (0,) and clf.predict_proba([]).shape == (0, 3)


def test_the_table(clf: Classifier) -> None:
    table = clf.predict_frame(iter(TEXTS), precision="fp32")
    assert list(table.columns) == ["text", "label", "confidence", *clf.labels]
    assert table["text"].tolist() == TEXTS
    found = exact(clf, TEXTS)
    np.testing.assert_allclose(table[list(clf.labels)].to_numpy(), found, atol=1e-12)
    np.testing.assert_allclose(table["confidence"], found.max(1), atol=1e-12)
    assert list(clf.predict_frame([]).columns) == list(table.columns)


def test_a_stream_is_read_window_by_window(
    clf: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts_module, "WINDOW_TEXTS", 4)
    monkeypatch.setattr(texts_module, "WINDOW_CHARACTERS", 600)
    read = []

    def source() -> Iterator[str]:
        for i in range(30):
            read.append(i)
            yield f"{'so ' * (i * 7 % 11)}film {i}"

    answers = clf.predict_iter(source(), precision="fp32")
    first = next(answers)
    assert len(read) == 4
    found = [first, *answers]
    texts = list(source())
    expected = np.concatenate([exact(clf, [text]) for text in texts])
    np.testing.assert_allclose([a.probabilities for a in found], expected, atol=CLOSE)
    assert [a.label for a in found] == clf.predict(texts, precision="fp32").tolist()
    assert [a.confidence for a in found] == pytest.approx(expected.max(1), abs=CLOSE)
    long = list(texts_module.cut(["a" * 400] * 4, len))
    assert [len(window) for window in long] == [2, 2]


@pytest.mark.parametrize("tokenizer", ["word", "char"])
def test_what_is_remembered_of_words_is_bounded(
    demo_corpus: Corpus, monkeypatch: pytest.MonkeyPatch, tokenizer: str
) -> None:
    """Forgetting changes no id."""
    monkeypatch.setattr(texts_module, "REMEMBERED", 100)
    config = ulmfit.TextConfig(tokenizer=tokenizer)
    encoder = TextEncoder(build_tokenizer(config), demo_corpus.vocab)
    for i in range(300):
        text = f"a film{i} of {i * 17} words, 'bout it"
        found = encoder.encode([text, "a fine one"])
        assert len(encoder.tokenizer.coder) <= 120
        if i % 50 == 49:
            fresh = TextEncoder(build_tokenizer(config), demo_corpus.vocab)
            assert list(map(list, found)) == list(map(list, fresh.encode([text, "a fine one"])))
            assert encoder.tokens(text) == fresh.tokens(text)


def test_a_table_and_the_classifier_forget_together(
    both: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts_module, "REMEMBERED", 20)
    clf = Classifier.load(both)
    clf.encode(["some fine words of a film that is not dull at all"])
    for lines in (" ".join(f"word{i}" for i in range(40)), "one two"):  # the second one forgets
        list(AnswerTable(clf, Rows(lines_of(BytesIO(lines.encode())))).answers())
    fresh = TextEncoder(build_tokenizer(clf.parts.text.config), clf.vocab)
    text = ["dull words of three films"]
    assert list(map(list, clf.encode(text))) == list(map(list, fresh.encode(text)))


def test_batches_are_cut_by_tokens(clf: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = exact(clf, TEXTS)
    shapes = []
    for direction in clf.directions:
        model = clf._model(direction, "fp32")
        model.register_forward_pre_hook(lambda _, inputs: shapes.append(tuple(inputs[0].shape)))
    monkeypatch.setattr(module, "BATCH_TOKENS", 300)
    np.testing.assert_allclose(exact(clf, TEXTS), expected, atol=CLOSE)
    assert len(shapes) > len(clf.directions) and all(a * b <= 300 or a == 1 for a, b in shapes)


def test_labels_that_are_called_like_columns(demo_corpus: Corpus, tmp_path: Path) -> None:
    labels = LabelSet("category", ("text", "confidence", "label"))
    parts = write_tiny_classifier(tmp_path / "model", demo_corpus, labels=labels)
    table = Classifier(parts).predict_frame(TEXTS)
    assert list(table.columns) == ["text", "label", "confidence", *labels.names]
    assert table.iloc[:, 0].tolist() == TEXTS


# --- kinds of label, temperature


def closed_formula(logits: np.ndarray, kind: str, temperature: float) -> np.ndarray:
    """Average the probabilities; heat the average's odds."""
    if kind == "number":
        return logits.mean(0)
    powers = np.exp(logits)
    if kind == "multi":
        mean = (powers / (1 + powers)).mean(0)
        odds = (mean / (1 - mean)) ** (1 / temperature)
        return odds / (1 + odds)
    mean = (powers / powers.sum(-1, keepdims=True)).mean(0) ** (1 / temperature)
    return mean / mean.sum(-1, keepdims=True)


@pytest.mark.parametrize("kind", ["category", "multi", "number"])
@pytest.mark.parametrize("temperature", [1.0, 0.4, 3.0])
@pytest.mark.parametrize("n_directions", [1, 2])
def test_probabilities_of_each_kind(kind: str, temperature: float, n_directions: int) -> None:
    n_outputs = 1 if kind == "number" else 4
    logits = np.random.default_rng(0).normal(0, 3, (n_directions, 50, n_outputs))
    labels = LabelSet(kind, tuple("abcd"[:n_outputs]), temperature)
    found = probabilities(logits, labels)
    np.testing.assert_allclose(found, closed_formula(logits, kind, temperature), rtol=1e-9)
    if n_directions == 1 and kind == "category":  # the textbook's temperature
        heated = np.exp(logits[0] / temperature)
        np.testing.assert_allclose(found, heated / heated.sum(1, keepdims=True), rtol=1e-9)


def test_extreme_logits_stay_numbers() -> None:
    logits = np.array([[[1e4, -1e4, 0.0]], [[-1e4, 1e4, 0.0]]])
    for kind in ("category", "multi"):
        found = probabilities(logits, LabelSet(kind, ("a", "b", "c"), 0.05))
        assert np.isfinite(found).all() and found.min() >= 0 and found.max() <= 1
        assert found[0, 0] == pytest.approx(0.5)


def test_decisions_of_each_kind() -> None:
    multi, found = LabelSet("multi", ("a", "b")), np.array([[0.9, 0.5], [0.1, 0.2]])
    assert decide(found, multi).tolist() == [("a", "b"), ()]
    assert confidence(found, multi).tolist() == pytest.approx([0.5, 0.8])
    number = LabelSet("number", ("number",))
    assert decide(np.array([[2.5], [-1.0]]), number).tolist() == [2.5, -1.0]
    assert np.isnan(confidence(np.array([[2.5]]), number)).all()


@pytest.mark.parametrize("kind", ["multi", "number"])
def test_other_kinds_from_text_to_table(demo_corpus: Corpus, tmp_path: Path, kind: str) -> None:
    names = ("number",) if kind == "number" else ("fine", "dull", "long")
    parts = write_tiny_classifier(tmp_path / "m", demo_corpus, labels=LabelSet(kind, names))
    clf = Classifier(parts)
    table = clf.predict_frame(TEXTS, precision="fp32")
    ids = clf.encode([TEXTS[0]])[0][None]
    with torch.no_grad():
        logits = parts.model("forward", precision="fp32")(
            torch.tensor(ids), torch.tensor([ids.shape[1]])
        ).logits[0]
    if kind == "number":
        assert table["label"][0] == pytest.approx(logits.item(), abs=CLOSE)
        assert math.isnan(table["confidence"][0])
    else:
        expected = logits.sigmoid().numpy()
        np.testing.assert_allclose(table.iloc[0, 3:].to_numpy(float), expected, atol=CLOSE)
        assert table["label"][0] == tuple(n for n, p in zip(names, expected) if p >= 0.5)


# --- what is refused, and what it says of itself


def test_what_cannot_be_answered(both: Path) -> None:
    clf = Classifier.load(both)
    for method in (
        clf.predict,
        clf.predict_proba,
        clf.predict_frame,
        lambda t: list(clf.predict_iter(t)),
    ):
        with pytest.raises(UserError, match="list of texts"):
            method("one text")
        with pytest.raises(UserError, match="text 1 is a float"):
            method(["fine", 3.5])
    with pytest.raises(UserError, match="--precision is 'int4'"):
        clf.predict(["a"], precision="int4")
    with pytest.raises(UserError, match="no sideways direction"):
        clf.predict_proba(["a"], direction="sideways")


def test_it_says_what_it_is(both: Path) -> None:
    clf = Classifier.load(both)
    assert (clf.label_kind, clf.temperature, clf.folder) == ("category", 1.0, both)
    for shown in (str(clf), clf._repr_html_()):
        for fact in (
            "positive",
            "forward and backward",
            f"{len(clf.vocab):,}",
            "accuracy 0.75",
            "a test",
        ):
            assert fact in shown


@pytest.mark.slow
def test_a_megabyte_of_text_has_an_answer(both: Path) -> None:
    clf = Classifier.load(both)
    found = clf.predict_proba(["so good, " * 120_000, "dull"], precision="fp32")
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[1], exact(clf, ["dull"])[0], atol=CLOSE, rtol=0)
