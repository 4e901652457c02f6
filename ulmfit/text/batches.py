"""Loaders and `DataLoaders` that a fastai `Learner` trains from, made of a `Corpus`.

Beside `loader.py`, the only file of this room that imports torch, and fastai. Batches are made in the
training process, faster than a worker could hand them over, so no number of workers can change them;
and no global random generator is read or moved.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from fastai.data.core import DataLoaders
from fastai.data.transforms import CategoryMap
from fastai.torch_core import default_device

from ulmfit.config import SPLITS
from ulmfit.errors import UserError
from ulmfit.text import display
from ulmfit.text.buckets import DocumentBatches
from ulmfit.text.epochs import WHOLE, EpochSize
from ulmfit.text.holdout import Rows, with_label
from ulmfit.text.lm_stream import LMStream, Position
from ulmfit.text.loader import Batch, Loader

if TYPE_CHECKING:
    import pandas as pd

    from ulmfit.text.corpus import Corpus
    from ulmfit.text.vocab import Vocab


class LMLoader(Loader):
    """Batches (ids, the ids one token later), both (bs, columns), for a language model."""

    dataset: LMStream

    @property
    def vocab(self) -> Vocab:
        """The tokens, as fastai has them for a language model."""
        return self.corpus.vocab

    @property
    def n(self) -> int:
        """Rows of all batches together, as fastai counts them."""
        return len(self) * self.bs

    def _arrays(self, start: Position) -> Iterator[tuple[np.ndarray, ...]]:
        for window in self.dataset.batches(start.epoch, start.batch):
            # Copies: contiguous, and free of the block of batches that `window` is a view of.
            yield window[:, :-1].copy(), window[:, 1:].copy()

    def table(
        self, b: Batch | None = None, *, max_n: int = 9, answers: torch.Tensor | None = None
    ) -> pd.DataFrame:
        """Decode the first rows of a batch: what is read, what has to be said next, and what a model says."""
        said = None if answers is None else answers[:max_n].tolist()
        return display.lm_table(self.vocab, self._first_rows(max_n, b), said)

    def _repr_html_(self) -> str:
        way = "each document backward" if self.dataset.backward else "forward"
        title = f"language model, {way}: {len(self):,} batches of {self.bs} rows and {self.dataset.seq_len} tokens; the first"
        return display.lm_batch_html(title, self.vocab, self._first_rows())


class ClassifierLoader(Loader):
    """Batches (ids, lengths, labels) for a classifier, without labels where no document of the loader has one."""

    n_inp = 2
    dataset: DocumentBatches

    @property
    def vocab(self) -> tuple[Vocab, CategoryMap]:
        """The tokens and the labels, as fastai has them for a classifier."""
        return self.corpus.vocab, CategoryMap(self.corpus.label_names, sort=False)

    def __init__(self, corpus: Corpus, dataset: DocumentBatches) -> None:
        super().__init__(corpus, dataset)
        self.n = len(dataset.rows)
        self._labels = None
        if corpus.labels is not None and len(with_label(corpus, dataset.rows)):
            kind = np.int64 if corpus.label_kind == "category" else np.float32
            self._labels = corpus.labels[dataset.rows].astype(kind)

    @property
    def c(self) -> int:
        """How many labels there are, by fastai's name for it; 1 where they are numbers."""
        return len(self.corpus.label_names) if self.corpus.label_kind != "number" else 1

    @property
    def items(self) -> list[int]:
        """The documents, as numbers in the corpus."""
        return self.dataset.rows.tolist()

    def get_idxs(self) -> np.ndarray:
        """Give the order in which the coming pass reads: `Learner.get_preds` undoes it."""
        return np.concatenate(self.dataset.plan(self.epoch))

    def _arrays(self, start: Position) -> Iterator[tuple[np.ndarray, ...]]:
        for batch in self.dataset.batches(start.epoch, start.batch):
            labels = () if self._labels is None else (self._labels[batch.places],)
            yield batch.ids, batch.lengths, *labels

    def table(
        self, b: Batch | None = None, *, max_n: int = 9, answers: torch.Tensor | None = None
    ) -> pd.DataFrame:
        """Decode the first rows of a batch: documents without their padding, labels, and a model's answers."""
        found = None if answers is None else answers[:max_n].tolist()
        return display.classifier_table(self.corpus, self._first_rows(max_n, b), found)

    def _repr_html_(self) -> str:
        title = f"classifier: {len(self):,} batches of up to {self.bs} documents; the first"
        return display.classifier_batch_html(title, self.corpus, self._first_rows())


def lm_dataloaders(
    corpus: Corpus,
    *,
    bs: int = 64,
    seq_len: int = 72,
    direction: str = "forward",
    seed: int = 0,
    shuffle: bool = True,
    jitter: bool = False,
    train: str | tuple[str, ...] = ("train", "unsup"),
    valid: str | tuple[str, ...] = ("valid",),
    rows: Rows | None = None,
    size: EpochSize = WHOLE,
    rank: int = 0,
    world: int = 1,
    path: str | Path = ".",
    device: torch.device | str | None = None,
) -> DataLoaders:
    """Make the loaders of stages 1 and 2: each split group is one stream of all its documents.

    `rows` names the documents of both one by one, instead of `train` and `valid`; `size` bounds an epoch
    of training. Process `rank` of `world` reads its own `bs` rows of a batch of bs * world.
    """
    stream = partial(
        LMStream,
        corpus.ids,
        corpus.offsets,
        bs=bs,
        seq_len=seq_len,
        direction=direction,
        seed=seed,
        rank=rank,
        world=world,
    )
    if rows is None:
        named = [(splits,) if isinstance(splits, str) else splits for splits in (train, valid)]
        groups = [(_rows(corpus, splits), " + ".join(splits)) for splits in named]
    else:
        groups = [(rows.train, "training"), (rows.valid, "validation")]
    (learnt, name), (measured, other) = groups
    train_stream = stream(rows=learnt, shuffle=shuffle, jitter=jitter, split=name, size=size)
    valid_stream = stream(rows=measured, shuffle=False, split=other)
    loaders = [LMLoader(corpus, own) for own in (train_stream, valid_stream)]
    return DataLoaders(*loaders, path=path, device=device or _own_device())


def classifier_dataloaders(
    corpus: Corpus,
    *,
    bs: int = 64,
    max_tokens: int | None = None,
    max_len: int | None = None,
    direction: str = "forward",
    seed: int = 0,
    train: str = "train",
    valid: str = "valid",
    rows: Rows | None = None,
    size: EpochSize = WHOLE,
    path: str | Path = ".",
    device: torch.device | str | None = None,
) -> DataLoaders:
    """Make the loaders of stage 3; `valid` may name any split that is to be predicted.

    Of `train`, documents without label are left out where others have one.
    `rows` takes their place: the documents to learn from and to measure on, whatever their splits.
    `size` bounds an epoch of training.
    """
    documents = partial(
        DocumentBatches,
        corpus.ids,
        corpus.offsets,
        bs=bs,
        max_tokens=max_tokens,
        max_len=max_len,
        direction=direction,
        seed=seed,
    )
    loaders = []
    learnt = _rows(corpus, (train,)) if rows is None else rows.train
    labelled = with_label(corpus, learnt)
    learnt = labelled if len(labelled) else learnt
    chosen = Rows(learnt, _rows(corpus, (valid,)) if rows is None else rows.valid, "")
    for split, numbers, shuffle in ((train, chosen.train, True), (valid, chosen.valid, False)):
        if not len(numbers):
            raise UserError(f"the {split} split has no documents: give it some, or name another")
        own = documents(rows=numbers, shuffle=shuffle, size=size if shuffle else WHOLE)
        loaders.append(ClassifierLoader(corpus, own))
    return DataLoaders(*loaders, path=path, device=device or _own_device())


def _own_device() -> torch.device:
    """Take fastai's device, but no Apple GPU: it has no float64 for sums of losses, and a checkpoint not its randomness."""
    device = default_device()
    return torch.device("cpu") if device.type == "mps" else device


def _rows(corpus: Corpus, splits: tuple[str, ...]) -> np.ndarray:
    """Number the documents of several splits, in corpus order."""
    if not splits:
        raise UserError(f"no split is named: give one or more of {', '.join(SPLITS)}")
    return np.sort(np.concatenate([corpus.rows(split) for split in splits]))
