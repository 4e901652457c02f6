"""Spans -> token codes: spans are runs of text without white space that have been through the rules.

A splitter says what the tokens of a span are; the table asks it once for each distinct span, in bulk.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ulmfit.text.chunks import Growing, Ragged
from ulmfit.text.rules import CONTROL_TOKENS


@dataclass(frozen=True)
class Coded:
    """The token codes of some documents, one after the other, and how many each document has."""

    codes: np.ndarray
    lengths: np.ndarray


@dataclass(frozen=True)
class CodedSpans:
    """The token codes of some spans, one after the other, where each span's end, and which are entangled."""

    codes: np.ndarray
    ends: np.ndarray
    entangled: np.ndarray


class Splitter:
    """Turn spans without white space, which have been through the rules, into tokens."""

    is_per_span = True  # does a text's split follow from its spans'?
    reach = 0  # how many spans away a neighbour can be that changes a span's tokens
    fingerprint = ""

    def forget(self) -> None:
        """Remember no text; most never do."""

    def split(self, spans: list[str]) -> tuple[list[list[str]], list[bool]]:
        """Return the tokens of each span, and whether the span's company can change them."""
        raise NotImplementedError

    def white(self, run: str) -> list[str]:
        """Return the tokens of a run of white space that is more than spaces."""
        raise NotImplementedError

    def document(self, text: str) -> list[str]:
        """Return the tokens of a whole text: those of its spans, unless these are not always independent."""
        tokens: list[str] = []
        for is_white, group in itertools.groupby(text, str.isspace):
            run = "".join(group)
            if is_white:
                tokens += self.white(run)
            else:
                tokens += [run] if run in CONTROL_TOKENS else self.split([run])[0][0]
        return tokens


class SpanTable:
    """Remember what each span became. The control tokens are spans, and the tokens with the first codes."""

    def __init__(self, splitter: Splitter) -> None:
        self.splitter = splitter
        self._code_of = defaultdict(itertools.count().__next__)
        self.codes(CONTROL_TOKENS)
        self.forget()

    def forget(self) -> None:
        """Forget all spans but the control tokens; no token loses its code."""
        self._number_of = defaultdict(itertools.count().__next__)
        self._codes, self._entangled = Ragged(), Growing(np.bool_)
        for token in CONTROL_TOKENS:
            self._codes.extend(np.array([self._number_of[token]]), np.array([1]))
            self._entangled.extend(np.array([False]))

    @property
    def tokens(self) -> list[str]:
        """All tokens so far, in the order of their codes."""
        return list(self._code_of)

    def __len__(self) -> int:
        return len(self._code_of)

    def newest(self, n: int) -> list[str]:
        """Return the last `n` of all tokens."""
        return [*itertools.islice(reversed(self._code_of), n)][::-1]

    def codes(self, tokens: Iterable[str]) -> np.ndarray:
        """Return the codes of tokens; a new token gets the next one."""
        return np.fromiter(map(self._code_of.__getitem__, tokens), np.int32)

    def split(self, spans: list[str]) -> CodedSpans:
        """Return the tokens of spans, or of runs of white space."""
        known = len(self._number_of)
        numbers = np.fromiter(map(self._number_of.__getitem__, spans), np.int64, len(spans))
        if n_new := len(self._number_of) - known:
            self._learn([*itertools.islice(reversed(self._number_of), n_new)][::-1])
        codes, ends = self._codes.rows(numbers)
        return CodedSpans(codes, ends, self._entangled.values[numbers])

    def _learn(self, new: list[str]) -> None:
        """Have new spans split, in the order of their numbers."""
        tokens, entangled = self.splitter.split([span for span in new if not span[0].isspace()])
        if len(tokens) < len(new):
            for i, span in enumerate(new):
                if span[0].isspace():
                    tokens.insert(i, self.splitter.white(span))
                    entangled.insert(i, False)
        codes = self.codes(itertools.chain.from_iterable(tokens))
        self._codes.extend(codes, np.fromiter(map(len, tokens), np.int64, len(tokens)))
        self._entangled.extend(np.array(entangled, np.bool_))
