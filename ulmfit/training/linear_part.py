"""How the linear part of a classifier is learnt: NB-SVM (Wang & Manning 2012) on the documents that the encoder learns from.

In: a corpus with the labels that are learnt from, and the encoder's logits of validation documents. Out: a
`LinearPart` that speaks as loud as it is told to.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_matrix, hstack

from ulmfit.models.linear_part import LinearPart, key_bounds, n_grams
from ulmfit.text.corpus import Corpus
from ulmfit.training.linear import fit_nbsvm

MOST_TOKENS = 9_000_000  # of the documents that are learnt from, in some 1 GB
MOST_GRAMS = 1 << 18  # that are kept; 4 MB for two labels
MOST_WEIGHTS = 1 << 23  # of all n-grams that are learnt from, one for each label
# Where it knows more than the encoder, it is so many times as loud (docs/decisions/015-a-linear-part.md):
TAUGHT = 2.0  # after a lesson, of whose teacher it is the better pupil,
OF_LONG = 2.0  # beside long documents,
OF_FEW_LONG = 4.0  # and where few labels have to do for them:
FEW, LONG = 2_000, 120  # documents; tokens of the median one


def fit_linear_part(corpus: Corpus, rows: np.ndarray, *, seed: int) -> LinearPart:
    """Learn from the labels of some documents; logits have mean 0 over the labels. One label alone teaches nothing."""
    assert corpus.labels is not None
    rows = _at_most(corpus, rows, seed=seed)
    n_vocab, labels = len(corpus.vocab), np.asarray(corpus.labels[rows])
    n_outputs = len(corpus.label_names)
    is_long = np.median(np.diff(corpus.offsets)[rows]) >= LONG
    grams, presence = _presence([corpus[row] for row in rows.tolist()], n_vocab, is_long=is_long)
    heard = _highest(_n_holding(presence), max(MOST_GRAMS, MOST_WEIGHTS // n_outputs))
    grams, presence = grams[heard], presence[:, heard]
    # A label that no document has gets what is neither for nor against it.
    whole, biases = np.zeros((len(grams), n_outputs), np.float32), np.zeros(n_outputs, np.float32)
    if len(grams) and len(np.unique(labels)) > 1:
        classes, weights, bias = fit_nbsvm(presence, labels)
        whole[:, classes] = weights - weights.mean(axis=1, keepdims=True)
        biases[classes] = bias - bias.mean()
    moved = np.abs(whole).max(axis=1) * np.sqrt(_n_holding(presence))  # answers, by each n-gram
    kept = _highest(moved, MOST_GRAMS)
    return LinearPart(n_vocab, grams[kept], whole[kept], biases)


def as_loud(
    part: LinearPart, logits: np.ndarray, documents: Sequence[np.ndarray], *, share: float
) -> LinearPart:
    """Scale a linear part so that its logits vary `share` times as much as the encoder's on the same documents."""
    own, other = (_spread(values) for values in (part.logits(documents), logits))
    return part.times(share * other / own if own > 0 else 0.0)


def loudness(corpus: Corpus, given: np.ndarray, *, is_taught: bool) -> float:
    """Say how many times as loud as usual it is to speak, with the labels of `given`, and maybe a lesson."""
    if is_taught:
        return TAUGHT
    sizes = corpus.offsets[given + 1] - corpus.offsets[given]
    if np.median(sizes) < LONG:
        return 1.0
    return OF_FEW_LONG if len(given) < FEW else OF_LONG


def _spread(logits: np.ndarray) -> float:
    """Measure how far logits lie from the mean of their document."""
    return float((logits - logits.mean(axis=1, keepdims=True)).std())


def _at_most(corpus: Corpus, rows: np.ndarray, *, seed: int) -> np.ndarray:
    """Draw documents until they have as many tokens as fit into memory."""
    sizes = np.diff(corpus.offsets)[rows]
    if sizes.sum() <= MOST_TOKENS:
        return rows
    order = np.random.default_rng(seed).permutation(len(rows))
    n = max(2, int(np.searchsorted(np.cumsum(sizes[order]), MOST_TOKENS)))
    return np.sort(rows[order[:n]])


def _presence(
    documents: list[np.ndarray], n_vocab: int, *, is_long: bool
) -> tuple[np.ndarray, csr_matrix]:
    """Make a matrix of documents and n-grams, 1 where a document has one.

    Of long documents up to four tokens in a row count, if two documents have them; of short ones, which have little
    else, all tokens and pairs.
    """
    longest, fewest = (len(key_bounds(n_vocab)), 2) if is_long else (2, 1)
    found, parts = [], []
    for places, _, keys in n_grams(documents, n_vocab=n_vocab, longest=longest):
        grams, columns = np.unique(keys, return_inverse=True)
        shape = len(documents), len(grams)
        presence = csr_matrix((np.ones(len(keys), np.float32), (places, columns)), shape=shape)
        presence.data[:] = 1  # however often
        kept = np.flatnonzero(_n_holding(presence) >= fewest)
        found.append(grams[kept]), parts.append(presence[:, kept])
    return np.concatenate(found), hstack(parts, format="csr")


def _n_holding(presence: csr_matrix) -> np.ndarray:
    """Count the documents that have each n-gram."""
    return np.bincount(presence.indices, minlength=presence.shape[1])


def _highest(values: np.ndarray, most: int) -> np.ndarray:
    """Give the places of the highest values, at most so many, in order; of equal ones the first."""
    return np.sort(np.argsort(-values, kind="stable")[:most])
