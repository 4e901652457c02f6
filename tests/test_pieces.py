"""Subwords against SentencePiece itself on whole texts; characters there and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor

from ulmfit.config import TextConfig
from ulmfit.errors import UserError
from ulmfit.text.pieces import CharSplitter, SubwordSplitter, train_subwords
from ulmfit.text.rules import CONTROL_TOKENS, apply_rules, escape_controls
from ulmfit.text.tokenizers import Tokenizer

WORDS = str.split(
    "the film was good and not so long a story of people who never met but wrote letters in the war xxpad "
    "it's well-made, they say. Über Straße 1990s USA so so so !!! <br /> it &amp; that — fine…"
)
TEXTS = [" ".join(WORDS[i:] + WORDS[: i + 7]) for i in range(len(WORDS))]


@pytest.fixture(scope="module", params=["unigram", "bpe"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pieces") / "sub" / "words.model"
    texts = [apply_rules("fastai", text) for text in TEXTS]
    return train_subwords(texts, out, n_pieces=90, kind=request.param)


@pytest.fixture
def subwords(model: Path) -> Tokenizer:
    return Tokenizer(TextConfig(tokenizer="subword", sp_model=str(model)))


def test_control_tokens_have_the_first_ids(model: Path) -> None:
    processor: Any = SentencePieceProcessor(model_file=str(model))
    assert [processor.id_to_piece(i) for i in range(9)] == list(CONTROL_TOKENS)
    assert processor.is_unknown(0)
    assert all(processor.is_control(i) for i in range(1, 9))


def test_the_vocabulary_is_the_models(model: Path) -> None:
    processor: Any = SentencePieceProcessor(model_file=str(model))
    pieces = [processor.id_to_piece(i) for i in range(len(processor))]
    assert SubwordSplitter(model).vocabulary() == pieces
    assert len(pieces) <= 90


def test_training_is_repeatable(model: Path, tmp_path: Path) -> None:
    kind = "unigram" if model.read_bytes().find(b"bpe") < 0 else "bpe"
    texts = [apply_rules("fastai", text) for text in TEXTS]
    one, other = (train_subwords(texts, tmp_path / n, n_pieces=90, kind=kind) for n in "ab")
    assert one.read_bytes() == other.read_bytes()


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(
    words=st.lists(
        st.sampled_from(WORDS) | st.text("abcdeéß.,-", min_size=1, max_size=9), max_size=12
    )
)
def test_pieces_of_words_are_the_pieces_of_the_text(words: list[str], subwords: Tokenizer) -> None:
    text = " ".join(words)
    tokens = next(subwords.tokenize([text]))
    assert tokens[0] == "xxbos"
    expected: list[str] = []
    for word in apply_rules("fastai", text).split():
        control = [word] if word in CONTROL_TOKENS else None
        expected += control or subwords.splitter._processor.encode(word, out_type=str)
    assert tokens[1:] == expected
    if not set(tokens[1:]) & set(CONTROL_TOKENS):
        assert tokens[1:] == subwords.splitter._processor.encode(
            apply_rules("fastai", text), out_type=str
        )


@pytest.mark.parametrize(
    "text",
    [*("word " * n for n in (110, 111, 112, 222, 1_000)), "0 " * 1_000, "=" * 111 + "\n no no no"],
)
def test_a_count_that_looks_like_a_repetition(text: str, subwords: Tokenizer) -> None:
    by_character: list[str] = ["xxbos"]
    by_piece: list[str] = ["xxbos"]
    for word in apply_rules("fastai", text.strip()).split():
        control = [word] if word in CONTROL_TOKENS else None
        by_piece += control or subwords.splitter._processor.encode(word, out_type=str)
        by_character += control or ["▁", *word]
    assert next(subwords.tokenize([text])) == by_piece
    found = next(Tokenizer(TextConfig(tokenizer="char")).tokenize([text]))
    assert [token for token in found if token != "\n"] == by_character


@pytest.mark.parametrize("word", [w for w in CONTROL_TOKENS if w != "xxunk"])
def test_control_tokens_never_come_out_of_text(word: str, subwords: Tokenizer) -> None:
    for typed in (word, word.upper(), f"({word})", f"{word}-{word}", f"&#120;{word[1:]}"):
        tokens = next(subwords.tokenize([f"the {typed} film"]))
        assert word not in tokens[1:] or word in ("xxup", "xxmaj")
        assert f"▁{word}" not in tokens
    assert not set(subwords.splitter._processor.encode(escape_controls(word), out_type=str)) & set(
        CONTROL_TOKENS
    )


def test_subwords_come_back(subwords: Tokenizer) -> None:
    for text in ("the film was good", "The USA wrote letters", "so so so good", "it !!! it"):
        assert subwords.decode(next(subwords.tokenize([text]))).replace(" ", "") == text.replace(
            " ", ""
        )


def test_a_missing_model_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no SentencePiece model"):
        SubwordSplitter(tmp_path / "none.model")


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.model"
    path.write_text("not a model", encoding="utf-8")
    with pytest.raises(UserError, match="is not a SentencePiece model"):
        SubwordSplitter(path)


def test_too_many_pieces_for_too_little_text(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="could not learn 5 pieces"):
        train_subwords(TEXTS, tmp_path / "m", n_pieces=5, kind="bpe")
    assert list(tmp_path.iterdir()) == []


@given(st.text("abé中.\n\u0301😀", max_size=20))
def test_characters_come_back(text: str) -> None:
    characters = Tokenizer(TextConfig(tokenizer="char", rules="none"))
    tokens = next(characters.tokenize([text]))
    assert characters.decode(tokens) == text.strip()
    assert "".join(tokens[1:]).replace("▁", "") == text.strip()


def test_every_word_of_characters_begins_with_a_mark() -> None:
    assert CharSplitter().split(["ab", "c"]) == ([["▁", "a", "b"], ["▁", "c"]], [False, False])
    assert CharSplitter().white("\n \t") == ["\n", "\t"]
