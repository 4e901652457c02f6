"""Tokens of one text -> the words a reader sees, each with the tokens that make it.

A capital's mark belongs to its word, a repetition to what is repeated, and pieces to the word they
begin or go on; in scripts that put no spaces between words, a piece is a word.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ulmfit.text.rules import BOS, CONTROL_TOKENS, FLD, MAJ, REP, UP, WREP
from ulmfit.text.tokenizers import Tokenizer

# How many units a control token acts on: a word; a count and what is repeated; a number.
_REACH = {UP: 1, MAJ: 1, REP: 2, WREP: 2, FLD: 1}
_NEWLINE, _SPACE = "↵", "␣"  # shown for words that are white space
# Thai, Lao, Burmese, Khmer, kana and Chinese characters.
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")


@dataclass(frozen=True)
class Words:
    """The words of a text in their order; `xxbos`, which begins every text, is in none."""

    texts: tuple[str, ...]
    gaps: tuple[str, ...]
    """What a reader expects before each word: nothing, a space, or a line's end."""
    bounds: tuple[int, ...]
    """Word i has the tokens from bounds[i] up to bounds[i + 1]."""

    def __len__(self) -> int:
        return len(self.texts)

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Add up the values of each word's tokens, where `values` has one for each token."""
        starts = np.array(self.bounds[:-1], np.int64)
        return np.add.reduceat(values, starts) if len(starts) else np.zeros(0, values.dtype)


def words_of(tokens: Sequence[str], tokenizer: Tokenizer) -> Words:
    """Gather the tokens that `tokenizer` made of a text to words, decoded."""
    first = int(bool(tokens) and tokens[0] == BOS)
    starts = spaced = range(first, len(tokens))
    if tokenizer.config.tokenizer != "word":
        spaced = [i for i in starts if i == first or _follows_space(tokens[i - 1], tokens[i])]
        inner = [i for i in starts[1:] if _unspaced(tokens[i - 1], tokens[i])]
        starts = sorted({*spaced, *inner})
    bounds = _with_controls(tokens, starts, spaced)
    decoded = [tokenizer.decode(tokens[a:b]) for a, b in pairwise(bounds)]
    gaps = _gaps(tokenizer.decode(tokens), [text.strip() for text in decoded])
    shown = [_shown(text, tokens[a:b]) for text, (a, b) in zip(decoded, pairwise(bounds))]
    return Words(tuple(shown), tuple(gaps), tuple(bounds))


def _follows_space(before: str, piece: str) -> bool:
    """Tell whether the text had a space before a piece, as it has on both sides of a control token."""
    return piece.startswith("▁") or piece in CONTROL_TOKENS or before in CONTROL_TOKENS


def _unspaced(before: str, piece: str) -> bool:
    """Tell whether a piece is a word of its own after `before` without a space."""
    if not before.strip("▁"):  # a word's beginning, which the model split off
        return False
    return bool(_UNSPACED.search(piece) or _UNSPACED.search(before))


def _with_controls(
    tokens: Sequence[str], starts: Sequence[int], spaced: Sequence[int]
) -> list[int]:
    """Drop the starts inside of what a control token acts on, which spaces delimit; add the end."""
    kept, end = [], 0
    for i in starts:
        if i < end:
            continue
        kept.append(i)
        if tokens[i] in _REACH:
            after = bisect_right(spaced, i) + _REACH[tokens[i]]
            end = spaced[after] if after < len(spaced) else len(tokens)
    return [*kept, len(tokens)]


def _gaps(text: str, words: list[str]) -> list[str]:
    """Find the white space before each word in the decoded text; a space where typography is not followed."""
    gaps, at = [], 0
    for word in words:
        found = len(text) - len(text[at:].lstrip()) if at < len(text) and text[at].isspace() else at
        follows = bool(word) and text.startswith(word, found)
        gaps.append(text[at:found] if follows else " " * bool(gaps))
        at = found + len(word) if follows else at
    return gaps


def _shown(text: str, tokens: Sequence[str]) -> str:
    """Make white space visible, and where the text of another column begins."""
    if text.strip():
        return text.strip()
    if tokens[0] == FLD:
        number = "".join(tokens[1:]).strip("▁")
        return f"[column {number}]" if number else _NEWLINE
    return _NEWLINE if "\n" in tokens[0] + text else _SPACE
