"""Spans split in bulk, with their marks peeled off, against spaCy one span at a time."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st

from ulmfit.errors import UserError
from ulmfit.text.rules import CONTROL_TOKENS
from ulmfit.text.words import WordSplitter

LANGS = ["en", "de", "fr", "es", "it", "ru", "fi", "tr", "xx"]
MARKS = list("\"'([`*.,!?;:)]-_–…/&%$€{}«»„“”’°©½、")
WORDS = str.split(
    "a i the don't it's cannot u.s. e.g. 5 10 3.5 5km 10m 7am 12:30 1990s 'em 'cause rock'n'roll x.com é ß 中文 "
    "😀 a@b.com http://a.b/c? www.x.org/ well-known z.b. aujourd'hui l'a qu'il г. т.е. :) :-( xd <3 d: o.o ^_^ )"
)


@functools.cache
def splitter(lang: str) -> WordSplitter:
    return WordSplitter(lang)


@functools.cache
def stock(lang: str) -> Any:
    tokenizer = spacy.blank(lang).tokenizer
    for token in CONTROL_TOKENS:
        tokenizer.add_special_case(token, [{"ORTH": token}])
    return tokenizer


def spans(lang: str) -> st.SearchStrategy[str]:
    """Glue words, marks and the special cases of a language."""
    cases = sorted(case.lower() for case in stock(lang).rules if not any(map(str.isspace, case)))
    part = st.sampled_from(MARKS) | st.sampled_from(WORDS) | st.sampled_from(cases)
    letters = st.text("aszé.'", min_size=1, max_size=4)
    return st.lists(part | letters, min_size=1, max_size=6).map("".join)


@pytest.mark.parametrize("lang", LANGS)
def test_spans_are_split_as_spacy_splits_them(lang: str) -> None:
    @settings(max_examples=60, deadline=None)
    @given(st.lists(spans(lang), min_size=1, max_size=20))
    def check(batch: list[str]) -> None:
        tokens, entangled = splitter(lang).split(batch)
        assert tokens == [[token.text for token in stock(lang)(span)] for span in batch]
        assert len(entangled) == len(batch)

    check()


@pytest.mark.parametrize("lang", ["en", "de", "fr"])
def test_spans_that_are_not_entangled_do_not_mind_company(lang: str) -> None:
    @settings(max_examples=60, deadline=None)
    @given(st.lists(spans(lang), min_size=2, max_size=12))
    def check(batch: list[str]) -> None:
        tokens, entangled = splitter(lang).split(batch)
        if not any(entangled):
            assert splitter(lang).document(" ".join(batch)) == [t for row in tokens for t in row]

    check()


@pytest.mark.parametrize("lang", ["en", "de", "fr"])
def test_all_short_spans_are_split_as_spacy_splits_them(lang: str) -> None:
    ends = itertools.product("a5$.,')-", repeat=3)
    batch = [f"{mark}a{''.join(end)}" for end in ends for mark in ("", "'")]
    assert splitter(lang).split(batch)[0] == [[t.text for t in stock(lang)(s)] for s in batch]


@given(st.text("abz.,!?;:)]\"'*([`", min_size=1, max_size=8))
def test_peeling_leaves_the_characters_of_a_span(span: str) -> None:
    before, core, after = splitter("en")._peel(span)
    assert before + core + after == span
    assert core


def test_most_words_of_english_need_no_spacy() -> None:
    peeled = [splitter("en")._peel(span) for span in ('"good,"', "(well)", "end.", "a", "o'clock")]
    assert peeled[:3] == [('"', "good", ',"'), ("(", "well", ")"), ("", "end", ".")]
    assert [splitter("en")._is_whole(core) for _, core, _ in peeled] == [True] * 4 + [False]


def test_a_special_case_with_an_affix_inside_a_span_is_entangled() -> None:
    tokens, entangled = splitter("en").split(["fun:)", "fun", ":)", "fun:"])
    assert tokens == [["fun", ":)"], ["fun"], [":)"], ["fun", ":"]]
    assert entangled == [True, False, False, False]


def test_white_space_is_one_token_without_spaces() -> None:
    assert splitter("en").white("\n  \t ") == ["\n▁\t▁"]


def test_an_unknown_language_is_the_users_mistake() -> None:
    with pytest.raises(UserError, match="--lang 'qq'"):
        WordSplitter("qq")
