"""Every rule against fastai's function of the same name."""

from __future__ import annotations

import re

import fastai.text.core as stock
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ulmfit.text import rules

PIECES = [
    *"aAbBxX3.,!'\"/#\\&;@-é… ", "so", "So", "ABC", "Ab", "iPhone", "xx", "xxpad", "XXPAD", "xxunk",
    "<br />", "<br", "/>", "<unk>", "&amp;", "amp;", "&lt;", "nbsp;", "&nbsp;", "#39;", "#146;", "#36;",
    "quot;", "&#39;", "&bogus;", "\\n", '\\"', " @-@ ", " @.@ ", "...", "....", "  ", "\n", "\t", "\xa0",
    "\u2028", "\u3000", "\x1c", "\x85", "ΟΔΟΣ", "Σ", "İ", "ß", "ǅ", "中", "\x00", "_",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES), max_size=12).map("".join) | st.text(max_size=20)
SAME = (
    "fix_html", "replace_rep", "replace_wrep", "spec_add_spaces", "rm_useless_spaces",
    "replace_all_caps", "replace_maj", "replace_space",
)  # fmt: skip


@pytest.mark.parametrize("name", SAME)
@settings(max_examples=300, deadline=None)
@given(text=TEXTS)
def test_a_rule_does_what_fastais_does(name: str, text: str) -> None:
    assert getattr(rules, name)(text) == getattr(stock, name)(text)


@given(TEXTS)
def test_lowercase_is_fastais_without_bos(text: str) -> None:
    assert rules.lowercase(text) == stock.lowercase(text, add_bos=False)


@given(TEXTS)
def test_has_repeated_word_foresees_replace_wrep(text: str) -> None:
    assert rules.has_repeated_word(text) == (rules.replace_wrep(text) != text)


def test_control_tokens_are_fastais_in_its_order() -> None:
    assert list(rules.CONTROL_TOKENS) == stock.defaults.text_spec_tok


def test_rules_are_fastais_in_its_order_and_the_escape() -> None:
    ours = [rule.__name__ for rule in rules.RULES["fastai"] if rule is not rules.escape_controls]
    assert ours == [rule.__name__ for rule in stock.defaults.text_proc_rules]


@given(TEXTS)
def test_all_rules_in_order(text: str) -> None:
    expected = rules.escape_controls(stock.fix_html(text))
    for rule in stock.defaults.text_proc_rules[1:-1]:
        expected = rule(expected)
    assert rules.apply_rules("fastai", text) == stock.lowercase(expected, add_bos=False)


def test_no_rules_but_the_escape() -> None:
    assert rules.apply_rules("none", " XXbos So  SO ") == "XˣBOS So  SO".replace("BOS", "bos")


@pytest.mark.parametrize("typed", ["xxpad", "XXPAD", "xXbOs", "XxWrep"])
@pytest.mark.parametrize("frame", ["{}", "({})", "a {}, b", "{}'s", "3{}3", "_{}_"])
def test_control_words_are_escaped_and_come_back(typed: str, frame: str) -> None:
    escaped = rules.escape_controls(frame.format(typed))
    assert typed not in escaped
    assert escaped == frame.format(f"{typed[0]}ˣ{typed[2:]}")


@pytest.mark.parametrize("typed", ["xxpad", "Xxpad", "XXPAD", "Xxbos", "XXWREP"])
def test_an_escaped_control_word_gets_its_spelling_back(typed: str) -> None:
    assert rules.unescape_controls(rules.escape_controls(typed)) == typed


@pytest.mark.parametrize("word", ["xxunk", "xxx", "axxpad", "xxpads", "maxxmajor", "xx", ""])
def test_other_words_are_not_escaped(word: str) -> None:
    assert rules.escape_controls(word) == word == rules.unescape_controls(word)


@given(st.text(st.sampled_from("xXpadbosA1 _'é"), max_size=14))
def test_no_control_word_stands_alone_after_the_escape(text: str) -> None:
    for word in re.findall(r"[^\W\d_]+", rules.escape_controls(text)):
        assert word.lower() not in set(rules.CONTROL_TOKENS) - {rules.UNK}
