"""Words from tokens: nothing lost, nothing twice, and what a reader sees is what the decoder writes."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import ulmfit
from ulmfit.config import TextConfig
from ulmfit.inference.token_words import words_of
from ulmfit.text.tokenizers import Tokenizer, build_tokenizer

TEXT = 'He said "no"!!!!! A GREAT film, so so so so dull.\n\nThe end 这部 zzqq'
PARTS = [*TEXT.split(), "\n", "DON'T", "xxrep", "( a )", "9.5", "AB这CD"]
WORD, CHAR = build_tokenizer(TextConfig()), build_tokenizer(TextConfig(tokenizer="char"))


@pytest.fixture(scope="module")
def subword(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    import pandas as pd

    texts = [f"the {mood} film number {n} was {mood} indeed" for n in range(40) for mood in "ab"]
    frame = pd.DataFrame({"text": [*texts, TEXT]})
    out: Path = tmp_path_factory.mktemp("subword") / "corpus"
    config = TextConfig(tokenizer="subword", max_vocab=80, min_freq=1)
    return ulmfit.prepare(frame, out, label=None, config=config).tokenizer


def tokens_of(tokenizer: Tokenizer, text: str) -> list[str]:
    return next(tokenizer.tokenize([text]))


def test_words_of_the_word_tokenizer() -> None:
    tokens = tokens_of(WORD, TEXT)
    words = words_of(tokens, WORD)
    assert words.texts == (
        "He", "said", '"', "no", '"', "!!!!!", "a", "GREAT", "film", ",", "so so so so",
        "dull", ".", "↵", "The", "end", "这部", "zzqq",
    )  # fmt: skip
    assert words.gaps[:8] == ("", " ", " ", "", "", "", " ", " ")
    made = [tuple(tokens[a:b]) for a, b in pairwise(words.bounds)]
    assert made[0] == ("xxmaj", "he") and made[7] == ("xxup", "great")
    assert made[5] == ("xxrep", "5", "!") and made[10] == ("xxwrep", "4", "so")


def test_pieces_make_words(subword: Tokenizer) -> None:
    for tokenizer in (subword, CHAR):
        words = words_of(tokens_of(tokenizer, TEXT), tokenizer)
        assert {"He", "said", "GREAT", "!!!!!", "so so so so", "The", "zzqq"} <= set(words.texts)
    assert {"这", "部"} <= set(words.texts)  # no spaces there, so each piece is a word


@settings(max_examples=60, deadline=None)
@example(["这部", "这部", "这部"])  # a repeated word of several pieces
@example(["AB这CD"])  # capitals on both sides of such a piece
@given(text=st.lists(st.sampled_from(PARTS)))
def test_every_token_is_in_one_word_and_every_character_is_shown(text: list[str]) -> None:
    for tokenizer in (WORD, CHAR):
        tokens = tokens_of(tokenizer, " ".join(text))
        words = words_of(tokens, tokenizer)
        assert words.bounds[0] == 1 and words.bounds[-1] == len(tokens)
        assert all(a < b for a, b in pairwise(words.bounds))
        assert len(words.texts) == len(words.gaps) == len(words.bounds) - 1
        shown = "".join(gap + word for gap, word in zip(words.gaps, words.texts))
        visible = shown.replace("↵", "").replace("␣", "")
        assert "".join(visible.split()) == "".join(tokenizer.decode(tokens).split())
        values = np.arange(len(tokens), dtype=float)
        assert words.sums(values).tolist() == [sum(range(a, b)) for a, b in pairwise(words.bounds)]


def test_a_column_of_its_own_is_told(subword: Tokenizer) -> None:
    for tokenizer in (WORD, subword):
        codes = tokenizer.code([["film"], ["the number"]]).codes
        tokens = [tokenizer.coder.tokens[code] for code in codes]
        shown = words_of(tokens, tokenizer).texts
        assert shown == ("[column 1]", "film", "[column 2]", "the", "number")


def test_no_text_has_no_words() -> None:
    words = words_of(["xxbos"], WORD)
    assert len(words) == 0 and words.bounds == (1,) and words.sums(np.ones(1)).tolist() == []


def test_a_control_token_at_the_end_is_a_word() -> None:
    words = words_of(["xxbos", "fine", "xxrep"], WORD)
    assert words.bounds == (1, 2, 3)
