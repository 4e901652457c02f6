"""Counted tokens, part after part. In: what one memory of words counted. Out: counts of all, and an id for each code.

A part ends where its distinct tokens become too many to remember; the next one has codes of its own. One part, as nearly
every corpus has, stays in memory; several are added up in a database on the disk.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ulmfit.config import SPLITS
from ulmfit.text.vocab import UNK_ID, Vocab

_COLUMNS = ", ".join(SPLITS)
_SUM = ", ".join(f"{split} = {split} + excluded.{split}" for split in SPLITS)
_FAST = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -32768"
_CREATE = f"""
CREATE TABLE token (token BLOB PRIMARY KEY, first INTEGER, {_COLUMNS}) WITHOUT ROWID;
CREATE TABLE code (part INTEGER, code INTEGER, token BLOB, PRIMARY KEY (part, code)) WITHOUT ROWID;
"""
_ADD = f"""
INSERT INTO token VALUES (?, ?, {", ".join("?" * len(SPLITS))})
ON CONFLICT DO UPDATE SET first = min(first, excluded.first), {_SUM}
"""


@dataclass(frozen=True)
class Part:
    """The tokens of some documents that follow each other."""

    tokens: Sequence[str]
    """`tokens[code]` is the token of a code."""
    first: np.ndarray
    """Per code where it was seen first, counted in running tokens of the corpus; beyond its end if never."""
    counts: np.ndarray
    """(splits, codes)"""
    n_running: int


class Parts:
    """All parts of a corpus; `path` is where a database may stand while it is prepared."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._only: Part | None = None
        self._sizes: list[int] = []

    def add(self, part: Part) -> None:
        """Take the next part."""
        self._sizes.append(part.n_running)
        if len(self._sizes) == 1:
            self._only = part
            return
        with self._database() as database, database:
            if self._only:
                database.executescript(_CREATE)
                _store(database, 0, self._only)
                self._only = None
            _store(database, len(self._sizes) - 1, part)

    def counts(self, splits: Sequence[str], n: int) -> dict[str, int]:
        """Return the `n` most frequent tokens of some splits with their counts, of equally frequent ones those seen first."""
        if part := self._only:
            total = part.counts[[SPLITS.index(split) for split in splits]].sum(0)
            order = np.lexsort((part.first, -total))[:n]
            seen = order[total[order] > 0]
            return {part.tokens[code]: int(total[code]) for code in seen.tolist()}
        with self._database() as database:
            query = f"SELECT token, {' + '.join(splits)} AS n FROM token WHERE n > 0 ORDER BY n DESC, first LIMIT ?"
            return {token.decode(): count for token, count in database.execute(query, (n,))}

    def unknown(self, vocab: Vocab) -> np.ndarray:
        """Count the running tokens of each split that a vocabulary lacks."""
        if part := self._only:
            return part.counts[:, vocab.encode(part.tokens) == UNK_ID].sum(1)
        total = np.zeros(len(SPLITS), np.int64)
        with self._database() as database:
            for token, *counts in database.execute(f"SELECT token, {_COLUMNS} FROM token"):
                if vocab.id(token.decode()) == UNK_ID:
                    total += counts
        return total

    def ids(self, vocab: Vocab) -> Iterator[tuple[int, np.ndarray]]:
        """Yield for each part the number of its running tokens, and the id of each of its codes."""
        if self._only:
            yield self._only.n_running, vocab.encode(self._only.tokens)
            return
        query = "SELECT token FROM code WHERE part = ? ORDER BY code"
        with self._database() as database:
            for number, n_running in enumerate(self._sizes):
                tokens = (token.decode() for (token,) in database.execute(query, (number,)))
                yield n_running, vocab.encode(tokens)

    @contextmanager
    def _database(self) -> Generator[sqlite3.Connection]:
        """Open the database, which needs no journal: a killed writer's is thrown away."""
        try:
            with closing(sqlite3.connect(self._path)) as database:
                database.executescript(_FAST)
                yield database
        except sqlite3.OperationalError as error:
            code = errno.ENOSPC if "full" in str(error) else errno.EIO
            raise OSError(code, str(error)) from error


def _store(database: sqlite3.Connection, number: int, part: Part) -> None:
    """Add a part to the database, in the order of its tokens, which is what a large table takes fastest."""
    tokens = [token.encode() for token in part.tokens]
    database.executemany(
        "INSERT INTO code VALUES (?, ?, ?)", ((number, i, t) for i, t in enumerate(tokens))
    )
    seen = np.flatnonzero(part.counts.any(0)).tolist()
    first, counts = part.first.tolist(), part.counts.T.tolist()
    seen.sort(key=tokens.__getitem__)
    database.executemany(_ADD, ((tokens[i], first[i], *counts[i]) for i in seen))
