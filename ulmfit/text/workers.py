"""Documents -> token codes, in this process or in several, with the same result.

A worker returns the distinct tokens of a batch and codes into them; here they get the codes that all batches share.
Workers are started afresh ("spawn") on every system, so that notebooks and Windows behave like Linux.
"""

from __future__ import annotations

import itertools
import multiprocessing
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import numpy as np

from ulmfit.config import TextConfig
from ulmfit.errors import UserError
from ulmfit.text.document_batches import Documents
from ulmfit.text.memo import Memo, cache_folder
from ulmfit.text.spans import Coded
from ulmfit.text.tokenizers import Tokenizer, build_tokenizer

MAX_TOKENS = 400_000  # distinct ones remembered; all of IMDb has 180,000


@dataclass(frozen=True)
class LocalCodes:
    """What a worker returns: codes into the batch's own list of tokens."""

    tokens: list[str]
    coded: Coded


class DocumentCoder:
    """Code batches of documents; `tokens[code]` is the token of a code, until all are forgotten."""

    def __init__(self, config: TextConfig, *, n_workers: int = 0) -> None:
        self.config, self.n_workers = config, n_workers
        self.tokenizer = build_tokenizer(config)
        self._shared = _numbering()

    @property
    def n_tokens(self) -> int:
        """Count the tokens it remembers."""
        return len(self._shared) if self.n_workers else len(self.tokenizer.coder.spans)

    def forget(self) -> None:
        """Begin with an empty memory and new codes; between two batches."""
        self._shared = _numbering()
        self.tokenizer.forget()

    @property
    def tokens(self) -> list[str]:
        """The tokens met so far, in the order of their codes."""
        return list(self._shared) if self.n_workers else self.tokenizer.coder.tokens

    def code(self, batches: Iterable[Documents]) -> Iterator[tuple[Documents, Coded]]:
        """Yield each batch with its codes, in order."""
        return self._in_workers(batches) if self.n_workers else self._here(batches)

    def _here(self, batches: Iterable[Documents]) -> Iterator[tuple[Documents, Coded]]:
        memo = remembering(self.tokenizer)
        for documents in batches:
            yield documents, self.tokenizer.code(documents.fields)
        memo.save(self.tokenizer.coder)

    def _in_workers(self, batches: Iterable[Documents]) -> Iterator[tuple[Documents, Coded]]:
        """Keep two batches per worker under way, so that memory does not depend on the corpus."""
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(self.n_workers, context, _start, (self.config,)) as pool:
            waiting: deque[tuple[Documents, Future[LocalCodes]]] = deque()
            source = iter(batches)
            try:
                while True:
                    for documents in itertools.islice(source, 2 * self.n_workers - len(waiting)):
                        waiting.append((documents, pool.submit(_code, documents.fields)))
                    if not waiting:
                        return
                    documents, future = waiting.popleft()
                    yield documents, self._share(future.result())
            except BrokenProcessPool as error:
                raise UserError(
                    "a worker process died, perhaps for lack of memory: lower --workers, or use --workers 0"
                ) from error
            finally:
                pool.shutdown(cancel_futures=True)

    def _share(self, local: LocalCodes) -> Coded:
        shared = np.fromiter(
            map(self._shared.__getitem__, local.tokens), np.int32, len(local.tokens)
        )
        return Coded(shared[local.coded.codes], local.coded.lengths)


def _numbering() -> defaultdict[str, int]:
    return defaultdict(itertools.count().__next__)


def remembering(tokenizer: Tokenizer) -> Memo:
    """Give a new tokenizer the memory of earlier runs, and return where to save it."""
    memo = Memo(cache_folder(), tokenizer.fingerprint)
    memo.load(tokenizer.coder)
    return memo


_tokenizer: Tokenizer | None = None  # a worker process's own


def _start(config: TextConfig) -> None:
    global _tokenizer
    _tokenizer = build_tokenizer(config)
    remembering(_tokenizer)


def _code(fields: tuple[list[str], ...]) -> LocalCodes:
    assert _tokenizer is not None
    if len(_tokenizer.coder.spans) > MAX_TOKENS:
        _tokenizer.forget()
    coded = _tokenizer.code(fields)
    distinct, codes = np.unique(coded.codes, return_inverse=True)
    tokens = _tokenizer.coder.tokens
    return LocalCodes(
        [tokens[code] for code in distinct.tolist()], Coded(codes.astype(np.int32), coded.lengths)
    )
