"""Which documents a classifier learnt from, and which it is evaluated on.

In: a classifier's manifest and a corpus. The manifest says which labels were given; the rows are drawn again
as in training, so that baselines learn from the same ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ulmfit.config import require
from ulmfit.errors import UserError
from ulmfit.inference.classifier import Classifier
from ulmfit.text.corpus import Corpus
from ulmfit.text.holdout import Rows, labelled_rows, n_also_in, with_label

EVALUATED = ("test", "valid")


@dataclass(frozen=True, eq=False)
class Trial:
    """The documents of an evaluation, as numbers in the corpus."""

    split: str
    rows: np.ndarray
    """To be answered; each has a label."""
    n_unlabelled: int
    """Documents of the split that have none, and are left out."""
    taught: Rows | None
    """What the classifier learnt from and was measured on; None if it was not trained on this corpus."""

    @property
    def given(self) -> np.ndarray | None:
        """The documents whose labels the classifier was given, but for those that it answers now."""
        if self.taught is None:
            return None
        return np.setdiff1d(np.union1d(self.taught.train, self.taught.valid), self.rows)


def trial_of(classifier: Classifier, corpus: Corpus, split: str) -> Trial:
    """Choose the labelled documents of a split; without a valid split, those held out in training stand for it."""
    require(split in EVALUATED, "split", split, ", ".join(EVALUATED))
    taught, rows = taught_rows(classifier, corpus), corpus.rows(split)
    held_out = _held_out(corpus, taught)
    if split == "valid" and not len(rows):
        rows = held_out
    if not len(rows):
        found = [n for n in EVALUATED if len(corpus.rows(n)) or (n == "valid" and len(held_out))]
        raise UserError(
            f"{corpus.folder} has no {split} documents: "
            + (f"--split may be {' or '.join(found)}" if found else "prepare it again with --split COLUMN")
        )  # fmt: skip
    if taught is not None and np.isin(rows, taught.train).any():
        raise UserError(
            f"the classifier has learnt from the {split} documents of {corpus.folder} (protocol as_published): "
            "they cannot say how good it is; evaluate it with --split test"
        )
    labelled = with_label(corpus, rows)
    if not len(labelled):
        raise UserError(
            f"none of the {len(rows):,} {split} documents of {corpus.folder} has a label, which an "
            "evaluation needs: prepare it again with labels, or ask `ulmfit predict` for answers alone"
        )
    return Trial(split, labelled, len(rows) - len(labelled), taught)


def _held_out(corpus: Corpus, taught: Rows | None) -> np.ndarray:
    """Give the documents of train that training held out; under as_published it is the test split that it measured on."""
    return np.intersect1d([] if taught is None else taught.valid, corpus.rows("train")).astype(int)


def taught_rows(classifier: Classifier, corpus: Corpus) -> Rows | None:
    """Draw again what a classifier learnt from, if it is this corpus that it learnt from."""
    settings = classifier.manifest.provenance.config
    if settings.get("corpus") != corpus.fingerprint:
        return None
    config = settings["config"]
    return labelled_rows(
        corpus,
        share=config["valid_share"],
        seed=config["seed"],
        max_valid=config.get("max_valid"),
        n_labels=config["n_labels"],
        protocol=config.get("protocol", "clean"),
    )


def n_learnt_from(corpus: Corpus, trial: Trial) -> int:
    """Count the documents that also stand among those whose labels the classifier was given."""
    return 0 if trial.given is None else n_also_in(corpus, trial.rows, trial.given)


def n_repeated(corpus: Corpus, rows: np.ndarray) -> int:
    """Count the documents that also stand elsewhere in the corpus, token for token."""
    return n_also_in(corpus, rows, np.setdiff1d(np.arange(len(corpus)), rows))
