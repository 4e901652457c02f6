"""Texts as a user gives them -> ids, checked and in order, by any number of threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np

from ulmfit.errors import UserError
from ulmfit.text.cells import is_missing
from ulmfit.text.tokenizers import Tokenizer
from ulmfit.text.vocab import Vocab

WINDOW_TEXTS = 4_096
WINDOW_CHARACTERS = 1 << 23
REMEMBERED = 50_000  # words; a service that runs for a year meets any number of them

Item = TypeVar("Item")
Fields = tuple[str, ...]  # the texts that make a document


def checked(texts: Iterable[str]) -> Iterator[str]:
    """Pass texts on, and refuse what only looks like some."""
    return (text for (text,) in fields_of(texts))


def fields_of(texts: Iterable[str | Fields], n_fields: int = 1) -> Iterator[Fields]:
    """Yield the texts of each document, a missing one as an empty one, and refuse what only looks like some."""
    if isinstance(texts, str):
        raise UserError("give a list of texts, also for a single one: [text]")
    if getattr(texts, "ndim", 1) != 1 or isinstance(texts, Mapping):
        raise UserError(
            "give texts alone: one column of a table, such as frame['text'], or the values of a dict"
        )
    for row, text in enumerate(texts):
        given = text if n_fields > 1 else (text,)
        if not isinstance(given, (tuple, list)) or len(given) != n_fields:
            raise UserError(
                f"text {row} is not a tuple of {n_fields} texts, which the classifier has learnt from: "
                "give one for each document, as frame[[...]].itertuples(index=False) does"
            )
        filled = ["" if is_missing(field) else field for field in given]
        fields = tuple(field for field in filled if isinstance(field, str))
        if len(fields) < n_fields:
            wrong = next(type(field).__name__ for field in filled if not isinstance(field, str))
            raise UserError(f"text {row} is a {wrong}, not a string")
        yield fields


def cut(items: Iterable[Item], n_characters: Callable[[Item], int]) -> Iterator[list[Item]]:
    """Cut a stream into lists that are large enough to sort by length and small enough to hold."""
    window: list[Item] = []
    size = 0
    for item in items:
        window.append(item)
        size += n_characters(item)
        if len(window) == WINDOW_TEXTS or size >= WINDOW_CHARACTERS:
            yield window
            window, size = [], 0
    if window:
        yield window


class TextEncoder:
    """Turn texts into ids of a vocabulary; others may use the tokenizer, and make it forget, meanwhile."""

    def __init__(self, tokenizer: Tokenizer, vocab: Vocab) -> None:
        self.tokenizer, self.vocab = tokenizer, vocab
        self._forget()

    def encode(self, texts: Sequence[str], *more: Sequence[str]) -> list[np.ndarray]:
        """Return the ids of each text; `more` are further columns, where a document has several."""
        if not texts:
            return []
        with self.tokenizer.lock:
            self._forget_many()
            coded = self.tokenizer.code([texts, *more])
            spans = self.tokenizer.coder.spans
            if n_new := len(spans) - len(self._ids):
                new = self.vocab.encode(spans.newest(n_new))
                self._ids = np.concatenate([self._ids, new])
            ids = self._ids[coded.codes]
        return np.split(ids, np.cumsum(coded.lengths)[:-1])

    def tokens(self, *fields: str) -> list[str]:
        """Return the tokens of a document, those included that the vocabulary lacks."""
        with self.tokenizer.lock:
            self._forget_many()
            codes = self.tokenizer.code([[text] for text in fields]).codes
            return [self.tokenizer.coder.tokens[code] for code in codes.tolist()]

    def _forget_many(self) -> None:
        """Bound the memory: what is common is soon met again."""
        if len(self.tokenizer.coder) > REMEMBERED:
            self.tokenizer.forget()
        if self.tokenizer.coder is not self._coder:
            self._forget()

    def _forget(self) -> None:
        self._coder = self.tokenizer.coder
        self._ids = np.empty(0, np.int64)  # of its codes
