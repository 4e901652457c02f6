"""What is claimed of patterns, against trying all short texts with `re`."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ulmfit.text.shapes import (
    can_match_letters,
    can_start_with,
    single_closers,
    single_openers,
)

MARKS = '."'
ATOMS = [
    "a", "s", "A", "é", "ſ", r"\.", '"', "1", "[ab]", "[^a]", "[^.]", "[Ā-ſ]", "[.\"]", r"\w", r"\W", r"\d", ".",
    "(?i:A)", "$", "^", r"\b", "(?<=a)", r"(?<=[a1]\.)", "(?<!a)", "(?=a)", r"(?=\.)", "(?!a)", r"(?<=a1\.)",
]  # fmt: skip
PATTERNS = st.recursive(
    st.sampled_from(ATOMS),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3).map("".join)
        | st.lists(inner, min_size=1, max_size=3).map(lambda parts: f"(?:{'|'.join(parts)})")
        | st.tuples(inner, st.sampled_from("*+?")).map(lambda pair: f"(?:{pair[0]}){pair[1]}")
    ),
    max_leaves=6,
)
FLAGS = st.sampled_from([0, re.IGNORECASE])
AFFIXES = st.lists(PATTERNS, min_size=1, max_size=4)


def texts(alphabet: str, longest: int) -> list[str]:
    sizes = range(longest + 1)
    return ["".join(t) for n in sizes for t in itertools.product(alphabet, repeat=n)]


LETTERS, MIXED = texts("asz", 3), texts('a1."', 4)


@settings(max_examples=600, deadline=None)
@given(PATTERNS, FLAGS)
def test_what_cannot_match_letters_does_not(source: str, flags: int) -> None:
    pattern = re.compile(source, flags)
    if not can_match_letters(pattern):
        assert [text for text in LETTERS if pattern.search(text)] == []


@settings(max_examples=600, deadline=None)
@given(PATTERNS, FLAGS)
def test_what_cannot_start_with_a_letter_does_not(source: str, flags: int) -> None:
    pattern = re.compile(source, flags)
    if not can_start_with(pattern, "as"):
        found = (match for text in MIXED + LETTERS for match in pattern.finditer(text))
        assert [m[0] for m in found if m[0][:1] in ("a", "s")] == []


@settings(max_examples=400, deadline=None)
@given(AFFIXES)
def test_a_single_opener_is_always_taken_alone(sources: list[str]) -> None:
    pattern = re.compile("|".join(f"^{source}" for source in sources))
    for mark in single_openers(pattern, MARKS):
        for text in MIXED:
            if text.startswith(mark):
                found = pattern.search(text)
                assert found and found[0] == mark


@settings(max_examples=400, deadline=None)
@given(AFFIXES)
def test_a_single_closer_is_taken_alone_or_not_at_all_by_what_stands_near(
    sources: list[str],
) -> None:
    pattern = re.compile("|".join(f"{source}$" for source in sources))
    for mark in single_closers(pattern, MARKS):
        for text in MIXED:
            if text[-1:] == mark and len(text) > 1 and text[-2] != mark:
                found, near = pattern.search(text), pattern.search(text[-3:])
                assert bool(found and found[0]) == bool(near and near[0])
                assert not found or found[0] in ("", mark)


@pytest.mark.parametrize("source", ["[^.]", "[a-c]", "x|b", "a?", r"\w", r"(\.)|\d*", "(?i:B)"])
def test_what_matches_letters_can(source: str) -> None:
    assert can_match_letters(re.compile(source))


@pytest.mark.parametrize("source", [r"\.", "[0-9]+", "(?<=é)a|[A-Z]", r"a\.b", "(?:-|–)+x"])
def test_what_needs_other_characters_cannot(source: str) -> None:
    assert not can_match_letters(re.compile(source))


def test_single_marks_are_found() -> None:
    prefix = re.compile(r"^\(|^\"|^\.\.+|^\$(?=\d)|^[*+]")
    assert single_openers(prefix, '("$*.') == '("'
    suffix = re.compile(r"\)$|\.\.+$|(?<=[a-z])\.$|'s$|(?<=abc),$")
    assert single_closers(suffix, ").") == ""  # one alternative looks too far back
    suffix = re.compile(r"\)$|\.\.+$|(?<=[a-z])\.$|'s$|[0-9]km$|x!$")
    assert single_closers(suffix, ").!") == ")."
