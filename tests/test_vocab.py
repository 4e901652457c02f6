"""The vocabulary against fastai's make_vocab and Numericalize, and its file."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from fastai.text.data import Numericalize, make_vocab
from hypothesis import given
from hypothesis import strategies as st

from ulmfit.errors import UserError
from ulmfit.text.rules import CONTROL_TOKENS
from ulmfit.text.vocab import FAKE, UNK_ID, Vocab

TOKENS = st.sampled_from([*"abcdefghijklmnopqrstuvwxyz", "é", "xˣpad", *CONTROL_TOKENS])
COUNTS = st.dictionaries(TOKENS, st.integers(1, 6))


@given(COUNTS, st.integers(1, 5), st.integers(9, 40), st.booleans())
def test_it_is_fastais(counts: dict[str, int], min_freq: int, max_vocab: int, fake: bool) -> None:
    expected = make_vocab(Counter(counts), min_freq=min_freq, max_vocab=max_vocab)
    ours = Vocab.build(counts, min_freq=min_freq, max_vocab=max_vocab, fake_tokens=fake)
    real = [token for token in expected if token != FAKE]
    assert [token for token in ours if token != FAKE] == real
    if fake:
        assert list(ours) == expected
    if not fake:
        assert list(ours) == real


@given(st.lists(st.lists(TOKENS, max_size=30), min_size=1, max_size=5))
def test_ids_are_fastais(documents: list[list[str]]) -> None:
    numericalize = Numericalize(min_freq=2)
    numericalize.setup(documents)
    counts = Counter(token for tokens in documents for token in tokens)
    vocab = Vocab.build(counts, min_freq=2, fake_tokens=True)
    assert list(vocab) == numericalize.vocab
    for tokens in documents:
        ids = vocab.encode([*tokens, "never seen"])
        assert ids.tolist() == numericalize([*tokens, "never seen"]).tolist()
        assert vocab.decode(ids[:-1]) == [t if t in vocab else "xxunk" for t in tokens]


@pytest.mark.parametrize("n_words", range(9))
def test_fake_tokens_fill_up_to_a_multiple_of_eight(n_words: int) -> None:
    counts = {str(i): 3 for i in range(n_words)}
    n_fake = len(Vocab.build(counts, fake_tokens=True)) - len(Vocab.build(counts))
    assert n_fake == make_vocab(Counter(counts)).count(FAKE)


def test_ties_are_broken_by_order_of_appearance() -> None:
    assert Vocab.build({"b": 3, "a": 3, "c": 4})[9:] == ("c", "b", "a")


@given(COUNTS)
def test_it_comes_back_from_disk(counts: dict[str, int]) -> None:
    import tempfile

    vocab = Vocab.build({**counts, "\n▁": 9, '"': 9}, fake_tokens=True)
    with tempfile.TemporaryDirectory() as folder:
        vocab.save(Path(folder) / "vocab.json")
        loaded = Vocab.load(Path(folder) / "vocab.json")
    assert loaded == vocab
    assert hash(loaded) == hash(vocab)
    assert loaded.fingerprint == vocab.fingerprint


def test_fingerprints_tell_orders_apart() -> None:
    assert (
        Vocab([*CONTROL_TOKENS, "a", "b"]).fingerprint
        != Vocab([*CONTROL_TOKENS, "b", "a"]).fingerprint
    )


@given(COUNTS, COUNTS)
def test_coverage_is_what_a_loop_counts(known: dict[str, int], counts: dict[str, int]) -> None:
    vocab = Vocab.build(known, min_freq=1)
    coverage, tokens, unknown = vocab.coverage(counts), 0, 0
    for token, n in counts.items():
        tokens += n
        if token not in list(vocab):
            unknown += n
    assert (coverage.tokens, coverage.unknown) == (tokens, unknown)
    assert coverage.unknown_rate == (unknown / tokens if tokens else 0)
    shown = [counts[token] for token in coverage.most_frequent_unknown]
    assert (
        shown == sorted((n for t, n in counts.items() if t not in list(vocab)), reverse=True)[:10]
    )


def test_it_is_a_sequence() -> None:
    vocab = Vocab([*CONTROL_TOKENS, "a", "<b>"])
    assert (len(vocab), vocab[9], vocab[-1], vocab[8:10]) == (11, "a", "<b>", ("xxmaj", "a"))
    assert "a" in vocab
    assert "c" not in vocab
    assert (vocab.id("a"), vocab.id("c"), vocab.index("a")) == (9, UNK_ID, 9)
    assert "11 tokens" in repr(vocab)
    assert "&lt;b&gt;" in vocab._repr_html_()


def test_a_fake_token_has_no_id() -> None:
    vocab = Vocab.build({"a": 3, FAKE: 9}, fake_tokens=True)
    assert vocab[9] == "a"
    assert FAKE not in vocab
    assert vocab.encode([FAKE, "a"]).tolist() == [UNK_ID, 9]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "not a JSON list of tokens"),
        ('["a", 1]', "not a JSON list of tokens"),
        ("[", "not valid JSON"),
        ('["a"]', "a vocabulary starts with xxunk"),
        (json.dumps([*CONTROL_TOKENS, "a", "b", "a"]), "'a' twice"),
        (json.dumps([*CONTROL_TOKENS[::-1]]), "a vocabulary starts with"),
    ],
)
def test_a_tampered_file_is_refused(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "vocab.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        Vocab.load(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"vocab\.json is missing"):
        Vocab.load(tmp_path / "vocab.json")
