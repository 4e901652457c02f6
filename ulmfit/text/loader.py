"""What a fastai `Learner` asks of a data loader, over batches that are a pure function of the position.

In: a corpus, and a dataset that knows its batches. Out: tensors, from any position on.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ulmfit.errors import UserError
from ulmfit.text import display
from ulmfit.text.buckets import DocumentBatches
from ulmfit.text.lm_stream import LMStream, Position

if TYPE_CHECKING:
    import pandas as pd

    from ulmfit.text.corpus import Corpus

Batch = tuple[torch.Tensor, ...]


class Loader:
    """What a Learner asks of a data loader, over batches that are a pure function of the position.

    `epoch` goes up when a pass is complete. A pass that is broken off leaves it alone, and so does
    a look at one batch: neither changes the training that follows.
    """

    n_inp = 1
    drop_last = False

    def __init__(self, corpus: Corpus, dataset: LMStream | DocumentBatches) -> None:
        self.corpus, self.dataset = corpus, dataset
        self.bs = dataset.bs
        self.device = torch.device("cpu")
        self._position, self._is_resumed = Position(), False

    @property
    def epoch(self) -> int:
        """The epoch that is being read, or else the one that comes next."""
        return self._position.epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self._position, self._is_resumed = Position(epoch), False

    def state(self) -> Position:
        """Say which batch comes next; right at any moment, also between two batches of a pass."""
        return self._position

    def resume(self, position: Position) -> None:
        """Let the next pass begin at `position`; it then has fewer batches than `len` says."""
        n_batches = self.dataset.n_batches(position.epoch)
        if not 0 <= position.batch <= n_batches:
            raise UserError(
                f"cannot resume at batch {position.batch} of the {n_batches} of epoch "
                f"{position.epoch}: use the corpus and the batch size that training began with"
            )
        self._position, self._is_resumed = position, True

    def __len__(self) -> int:
        return self.dataset.n_batches(self.epoch)

    def __iter__(self) -> Iterator[Batch]:
        start = self._position if self._is_resumed else Position(self.epoch)
        self._is_resumed = False
        for done, batch in enumerate(self._read(start), start.batch + 1):
            self._position = Position(start.epoch, done)  # before the yield: a checkpoint sees it
            yield batch
        self._position = Position(start.epoch + 1)

    def _read(self, start: Position) -> Iterator[Batch]:
        for arrays in self._arrays(start):
            yield tuple(torch.from_numpy(a).to(self.device) for a in arrays)

    def _arrays(self, start: Position) -> Iterator[tuple[np.ndarray, ...]]:
        raise NotImplementedError

    def one_batch(self) -> Batch:
        """Return the first batch of the coming pass without beginning it."""
        return next(self._read(Position(self.epoch)))

    def to(self, device: torch.device | str | int) -> None:
        """Put the batches to come on `device`."""
        self.device = torch.device(device)

    def new(self, *given: Any, shuffle: bool | None = None, **others: Any) -> Loader:
        """Return a fresh loader of the same documents, shuffled or not.

        fastai also passes `drop_last` and `get_idxs`: no document is ever dropped, and the order is its own.
        """
        if given or others.keys() - {"drop_last", "get_idxs"}:
            raise UserError(
                "a loader reads documents of its corpus: learn.save_model(OUT).predict(texts) answers new texts, "
                "and a classifier's learn.top_losses(9) shows the documents with the largest losses"
            )
        other = copy.copy(self)
        if shuffle is not None:
            other.dataset = self.dataset.reshuffled(shuffle)
        other.epoch = self.epoch
        return other

    def table(
        self, b: Batch | None = None, *, max_n: int = 9, answers: torch.Tensor | None = None
    ) -> pd.DataFrame:
        """Decode the first rows of a batch, and a model's answers for them."""
        raise NotImplementedError

    def show_batch(self, b: Batch | None = None, max_n: int = 9, **_: Any) -> None:
        """Display the first rows of a batch as a table of tokens."""
        display.show_table(self.table(b, max_n=max_n))

    def show_results(self, b: Batch, out: torch.Tensor, max_n: int = 9, **_: Any) -> None:
        """Display the same beside a model's answers."""
        display.show_table(self.table(b, max_n=max_n, answers=out))

    def _first_rows(self, max_n: int = display.ROWS, b: Batch | None = None) -> list[list[Any]]:
        return [part[:max_n].tolist() for part in b or self.one_batch()]
