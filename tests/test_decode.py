"""Tokens back to text: fixed examples, round trips, and that nothing a model writes can break it."""

from __future__ import annotations

import functools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ulmfit.config import TextConfig
from ulmfit.text.decode import decode_pieces, decode_words
from ulmfit.text.rules import CONTROL_TOKENS
from ulmfit.text.tokenizers import Tokenizer


@functools.cache
def tokenizer(kind: str) -> Tokenizer:
    return Tokenizer(TextConfig(tokenizer=kind))


def there_and_back(text: str, kind: str = "word") -> str:
    return tokenizer(kind).decode(next(tokenizer(kind).tokenize([text])))


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ("xxrep 3 ! the movie", "!!! the movie"),
        ("xxbos xxmaj the film", "The film"),
        ("xxup usa wins .", "USA wins."),
        ("xxwrep 3 so good", "so so so good"),
        ("it 's n't wo n't", "it'sn't won't"),
        ('he said " yes " !', 'he said "yes"!'),
        ("( a ) [ b ]", "(a) [b]"),
        ("xxfld 1 a xxfld 2 b", "a\nb"),
        ("xxpad xxbos a xxeos", "a"),
        ("xxmaj xxunk a", "xxunk a"),
        ("xxmaj xˣpad xxup xˣbos xˣeos", "Xxpad XXBOS xxeos"),
        ("xxrep many a", "xxrep many a"),
        ("xxrep 999999999999 a", "xxrep 999999999999 a"),
        ("xxrep", "xxrep"),
        ("xxmaj", ""),
        ("xxmaj xxmaj film xxup xxmaj the xxmaj xxbos end", "Film THE End"),
        ("a \n▁ b", "a\n b"),
        ("", ""),
    ],
)
def test_words_are_joined(tokens: str, text: str) -> None:
    assert decode_words(tokens.split(" ") if tokens else []) == text


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ("xxbos xxmaj ▁the ▁fi lm", "The film"),
        ("xxmaj fi lm ▁is", "Film is"),
        ("▁a xxrep ▁3 ▁! ▁b", "a !!! b"),
        ("xxwrep ▁3 ▁so ▁good", "so so so good"),
        ("xxfld ▁1 ▁a xxfld ▁2 ▁b", "a\nb"),
        ("", ""),
    ],
)
def test_pieces_are_joined(tokens: str, text: str) -> None:
    assert decode_pieces(tokens.split()).strip() == text


@pytest.mark.parametrize("kind", ["word", "char"])
@pytest.mark.parametrize(
    "text",
    [
        "the film", "The USA won, they think.", "so good!!!", "so so so good", "xxpad XXBOS Xxmaj here",
        'He said "yes" to me.', "It's Bob's; (really) don't.",
    ],
)  # fmt: skip
def test_texts_come_back(kind: str, text: str) -> None:
    assert squeezed(there_and_back(text, kind)) == squeezed(text)


def squeezed(text: str) -> str:
    return text.replace(" ", "")


WORDS = st.text("abcdefghijklmnopqrstuvwxyz", min_size=2, max_size=8).filter(
    lambda word: (
        not word.startswith("xx")
        and not any(c * 3 in word for c in word)
        and len(tokenizer("word").splitter.split([word])[0][0]) == 1  # spaCy's English splits "id"
    )
)
PLAIN = st.lists(WORDS, min_size=1, max_size=8, unique=True)


@settings(deadline=None)
@given(PLAIN, st.sampled_from(["", ".", "!", "?"]))
def test_simple_sentences_come_back(words: list[str], end: str) -> None:
    text = " ".join(words) + end
    assert squeezed(there_and_back(text)) == squeezed(text)
    assert there_and_back(text, "char") == text


@settings(deadline=None)
@given(PLAIN)
def test_capitals_come_back(words: list[str]) -> None:
    for change in (str.title, str.upper):
        text = " ".join(map(change, words))
        assert squeezed(there_and_back(text)) == squeezed(text)
        assert there_and_back(text, "char") == text


ANY_TOKENS = st.lists(
    st.sampled_from([*CONTROL_TOKENS, *str.split("3 0 -1 ² ▁ ▁a \n \n▁ ( ) \" ' 's n't xˣpad ٣", " "), "9" * 5_000])
    | st.text(max_size=4),
    max_size=12,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(ANY_TOKENS)
def test_no_tokens_break_decoding(tokens: list[str]) -> None:
    for decode in (decode_words, decode_pieces):
        assert len(decode(tokens)) <= 10_000 * (sum(map(len, tokens)) + len(tokens))
