"""The one vocabulary of a recipe: a sequence of tokens whose positions are the ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np

from ulmfit.errors import UserError
from ulmfit.files import fingerprint, read_json, write_json
from ulmfit.text.display import vocab_html
from ulmfit.text.rules import CONTROL_TOKENS

UNK_ID, PAD_ID, BOS_ID = 0, 1, 2
FAKE = "xxfake"


@dataclass(frozen=True)
class Coverage:
    """How much of some counted text a vocabulary knows."""

    tokens: int
    unknown: int
    most_frequent_unknown: tuple[str, ...]

    @property
    def unknown_rate(self) -> float:
        """Share of the running tokens that are out of the vocabulary."""
        return self.unknown / self.tokens if self.tokens else 0.0


class Vocab(Sequence[str]):
    """Tokens in the order of their ids; the control tokens come first, always."""

    def __init__(self, tokens: Iterable[str]) -> None:
        self._tokens = tuple(tokens)
        if self._tokens[: len(CONTROL_TOKENS)] != CONTROL_TOKENS:
            raise UserError(f"a vocabulary starts with {' '.join(CONTROL_TOKENS)}, in this order")
        self._ids = {token: i for i, token in enumerate(self._tokens) if token != FAKE}
        if len(self._ids) + self._tokens.count(FAKE) != len(self._tokens):
            twice = next(t for i, t in enumerate(self._tokens) if t != FAKE and self._ids[t] != i)
            raise UserError(f"a vocabulary holds every token once, and {twice!r} twice")

    @classmethod
    def build(
        cls,
        counts: Mapping[str, int],
        *,
        min_freq: int = 3,
        max_vocab: int = 60_000,
        fake_tokens: bool = False,
    ) -> Vocab:
        """Keep the most frequent tokens, of equally frequent ones those that `counts` lists first.

        `max_vocab` includes the control tokens. `fake_tokens` appends entries up to the next multiple of 8.
        """
        frequent = sorted(counts, key=counts.__getitem__, reverse=True)[:max_vocab]  # a stable sort
        words = [
            t for t in frequent if counts[t] >= min_freq and t not in CONTROL_TOKENS and t != FAKE
        ]
        tokens = [*CONTROL_TOKENS, *words][:max_vocab]
        return cls([*tokens, *[FAKE] * (8 - len(tokens) % 8 if fake_tokens else 0)])

    def after(self, known: Iterable[str]) -> Vocab:
        """Put other tokens first, with the ids that they have; those of this vocabulary that are new follow."""
        return Vocab(dict.fromkeys(token for token in (*known, *self) if token != FAKE))

    def __len__(self) -> int:
        return len(self._tokens)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        return self._tokens[index]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tokens)

    def __contains__(self, token: object) -> bool:
        return token in self._ids

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocab) and self._tokens == other._tokens

    def __hash__(self) -> int:
        return hash(self._tokens)

    def __repr__(self) -> str:
        return f"Vocab({len(self):,} tokens: {' '.join(self._tokens[9:17])} ...)"

    def _repr_html_(self) -> str:
        return vocab_html(self)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the content: equal vocabularies, and no others, share it."""
        return fingerprint(list(self._tokens))

    def id(self, token: str) -> int:
        """Return a token's id, that of `xxunk` if it is not here."""
        return self._ids.get(token, UNK_ID)

    def encode(self, tokens: Iterable[str]) -> np.ndarray:
        """Return the ids of tokens."""
        return np.fromiter(map(self.id, tokens), np.int64)

    def decode(self, ids: Iterable[int]) -> list[str]:
        """Return the tokens of ids."""
        return [self._tokens[i] for i in ids]

    def coverage(self, counts: Mapping[str, int]) -> Coverage:
        """Report how much of counted tokens is known."""
        unknown = {token: n for token, n in counts.items() if n and token not in self._ids}
        top = sorted(unknown, key=unknown.__getitem__, reverse=True)[:10]
        return Coverage(sum(counts.values()), sum(unknown.values()), tuple(top))

    def save(self, path: str | Path) -> None:
        """Write the tokens as a JSON list."""
        write_json(Path(path), list(self._tokens))

    @classmethod
    def load(cls, path: str | Path) -> Vocab:
        """Read a JSON list of tokens."""
        tokens = read_json(Path(path))
        if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
            raise UserError(f"{path} is not a JSON list of tokens: write the artefact again")
        return cls(tokens)
