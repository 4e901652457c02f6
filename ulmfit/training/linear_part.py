"""How the linear part of a classifier is learnt: NB-SVM (Wang & Manning 2012) on the documents that the encoder learns from.

In: a corpus with the labels that are learnt from, and the encoder's logits of validation documents. Out: a
`LinearPart` that speaks as loud as it is told to.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_matrix

from ulmfit.models.linear_part import LinearPart, n_grams
from ulmfit.text.corpus import Corpus
from ulmfit.training.linear import fit_nbsvm

MOST_TOKENS = 4_000_000  # of the documents that are learnt from, in some 500 MB
MOST_GRAMS = 1 << 18  # those in most documents; 3 MB for two labels
# Where it knows more than the encoder, it is so many times as loud (docs/decisions/015-a-linear-part.md):
TAUGHT = 4.0  # after a lesson, of whose teacher it is the better pupil,
OF_LONG = 8.0  # and where few labels have to do for long documents:
FEW, LONG = 2_000, 120  # documents; tokens of the median one


def fit_linear_part(corpus: Corpus, rows: np.ndarray, *, seed: int) -> LinearPart:
    """Learn from the labels of some documents; logits have mean 0 over the labels. One label alone teaches nothing."""
    assert corpus.labels is not None
    rows = _at_most(corpus, rows, seed=seed)
    n_vocab, labels = len(corpus.vocab), np.asarray(corpus.labels[rows])
    places, _, keys = n_grams([corpus[row] for row in rows.tolist()], n_vocab=n_vocab)
    grams, presence = _presence(places, keys, n_documents=len(rows))
    n_outputs = len(corpus.label_names)
    # A label that no document has gets what is neither for nor against it.
    whole, biases = np.zeros((len(grams), n_outputs), np.float32), np.zeros(n_outputs, np.float32)
    if len(np.unique(labels)) > 1:
        classes, weights, bias = fit_nbsvm(presence, labels)
        whole[:, classes] = weights - weights.mean(axis=1, keepdims=True)
        biases[classes] = bias - bias.mean()
    return LinearPart(n_vocab, grams, whole, biases)


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
    return OF_LONG if len(given) < FEW and np.median(sizes) >= LONG else 1.0


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
    places: np.ndarray, keys: np.ndarray, *, n_documents: int
) -> tuple[np.ndarray, csr_matrix]:
    """Make a matrix of documents and n-grams, 1 where a document has one; of very many, keep the most frequent."""
    grams, columns = np.unique(keys, return_inverse=True)
    shape = n_documents, len(grams)
    presence = csr_matrix((np.ones(len(keys)), (places, columns)), shape=shape)
    presence.data[:] = 1  # however often
    if len(grams) > MOST_GRAMS:
        n_documents_with = np.bincount(presence.indices, minlength=len(grams))
        kept = np.sort(np.argsort(-n_documents_with, kind="stable")[:MOST_GRAMS])
        grams, presence = grams[kept], presence[:, kept].tocsr()
    return grams, presence
