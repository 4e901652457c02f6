"""When the labels are few: which texts a teacher is asked about, and what it answered. Imports nothing heavy."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ulmfit.text.corpus import Corpus
from ulmfit.text.epochs import EpochSize
from ulmfit.text.holdout import Rows, unlabelled_rows
from ulmfit.training.classifier_config import ClassifierConfig

# Measured on IMDb, Amazon, AG News and TREC-6 (docs/decisions/014-a-teacher-for-few-labels.md).
MOST = 10_000  # texts without label that a teacher reads: more take time, and change little
MOST_TOKENS = 4_000_000  # in all of them: NB-SVM counts their pairs, in some 400 MB
FEWEST = 1_000  # fewer say too little about which words go together,
SHORT = 40  # and so do texts of fewer tokens than this
SURE = 0.8  # of its answers, those that are believed


@dataclass(frozen=True, eq=False)
class Lesson:
    """Documents with the labels that a teacher gave them, maybe none."""

    rows: np.ndarray
    """Numbers of documents, in corpus order."""
    labels: np.ndarray
    """Codes, one for each of `rows`."""

    @property
    def notice(self) -> str:
        """Say in a few words what else is learnt from."""
        if not len(self.rows):
            return ""
        return (
            f"the labels are few: {len(self.rows):,} documents more are learnt from, which a linear model labelled "
            "that learnt from the same labels (few_labels)"
        )

    def added_to(self, rows: Rows) -> Rows:
        """Learn from these documents, too."""
        return replace(rows, train=np.union1d(rows.train, self.rows))

    def known(self, corpus: Corpus) -> Corpus:
        """Give the corpus with the teacher's labels; whatever others there may be are not looked at."""
        if not len(self.rows):
            return corpus
        labels = np.array(corpus.labels)
        labels[self.rows] = self.labels
        return replace(corpus, labels=labels)

    def epoch_size(
        self, corpus: Corpus, config: ClassifierConfig, rows: Rows, *, n_groups: int
    ) -> EpochSize:
        """Spread one reading of all documents over the epochs: what nobody checked is not to be learnt by heart."""
        size = config.epoch_size()
        if not len(self.rows):
            return _enough(size, corpus, config, rows.train)
        once = -(-self.n_batches(config, rows) // n_epochs(config, n_groups))
        once = max(once, size.min_batches or 1)
        return replace(size, max_batches=min(once, size.max_batches or once))

    def n_readings(
        self, config: ClassifierConfig, rows: Rows, size: EpochSize, *, n_groups: int
    ) -> float:
        """Count how often a document is read in epochs of this size, all of them together."""
        n_batches = self.n_batches(config, rows)
        of_epoch = n_batches if (most := size.most(n_batches)) is None else most
        return n_epochs(config, n_groups) * of_epoch / n_batches

    def n_batches(self, config: ClassifierConfig, rows: Rows) -> int:
        """Count the batches in which all documents are read once."""
        return -(-len(self.added_to(rows).train) // config.bs)


def n_epochs(config: ClassifierConfig, n_groups: int) -> int:
    """Count the epochs of all phases."""
    return sum(phase.epochs for phase in config.phases(n_groups))


def _enough(
    size: EpochSize, corpus: Corpus, config: ClassifierConfig, rows: np.ndarray
) -> EpochSize:
    """Let few documents be read again until there are batches enough, or tokens."""
    if size.min_batches is None or config.enough_tokens is None:
        return size
    n_tokens = np.diff(corpus.offsets)[rows].mean() * config.bs  # of a batch
    return replace(size, min_batches=min(size.min_batches, math.ceil(config.enough_tokens / max(1, n_tokens))))  # fmt: skip


def asked(corpus: Corpus, rows: Rows, config: ClassifierConfig) -> np.ndarray:
    """Choose the documents that a teacher is to label: none where labels are not few, or texts are few or short."""
    if not _is_few(corpus, rows, config):
        return rows.train[:0]
    pool = unlabelled_rows(corpus, rows, seed=config.seed, most=MOST, most_tokens=MOST_TOKENS)
    is_enough = len(pool) >= FEWEST and np.median(np.diff(corpus.offsets)[pool]) >= SHORT
    return pool if is_enough else pool[:0]


def lacking(corpus: Corpus, rows: Rows, config: ClassifierConfig) -> str:
    """Say what would help most where labels are few, and the texts that a teacher needs are missing."""
    if not _is_few(corpus, rows, config) or np.median(np.diff(corpus.offsets)[rows.train]) < SHORT:
        return ""
    every = int(corpus.offsets[-1])
    others = unlabelled_rows(corpus, rows, seed=config.seed, most=FEWEST, most_tokens=every)
    if len(others) == FEWEST:
        return ""
    return f"the labels are few: {FEWEST:,} or more texts of the same kind without label would help most (--unsup of prepare and fit)"


def _is_few(corpus: Corpus, rows: Rows, config: ClassifierConfig) -> bool:
    few = config.few_labels
    return few is not None and len(rows.train) < few and corpus.label_kind == "category"
