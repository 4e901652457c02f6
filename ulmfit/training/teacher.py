"""A teacher for few labels: a linear model that has seen many texts labels those that nobody has labelled.

In: a corpus, the documents that have labels, those that have none. Out: the latter with the teacher's labels, but for
those it is least sure of. Few labels suffice for logistic regression on the main directions of all these texts' TF-IDF
(latent semantic analysis: Deerwester et al. 1990). Its scores and NB-SVM's are added, and from the surer ones of these
answers an NB-SVM learns which words tell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize

from ulmfit.training.lesson import SURE, Lesson
from ulmfit.training.linear import LabelledTexts, all_labels, nbsvm, ready_texts

if TYPE_CHECKING:
    from ulmfit.text.corpus import Corpus

N_DIRECTIONS = 50
COMMON, RARE = 0.3, 1e-3  # documents that hold a token, as a share: outside of these it says little


def teach(corpus: Corpus, given: np.ndarray, pool: np.ndarray) -> Lesson:
    """Label the documents `pool` by what the labels of `given` say; what is not sure is left out."""
    assert corpus.labels is not None
    labels = np.asarray(corpus.labels[given])
    shares = SURE * np.bincount(labels, minlength=len(corpus.label_names)) / len(labels)
    known, texts = ready_texts(corpus, given), ready_texts(corpus, pool)

    def by_words(more: np.ndarray, answers: np.ndarray) -> np.ndarray:
        every = [*known, *(texts[place] for place in more.tolist())]
        codes = np.concatenate([labels, answers])
        return nbsvm(LabelledTexts(every, codes, corpus.label_names, is_tokenized=True))(texts)

    first = by_words(pool[:0], labels[:0])
    scores = standard(first) + standard(_by_directions(corpus, given, pool))
    sure, answers = surest(by_words(*surest(scores, shares)), shares)
    order = np.argsort(sure)
    return Lesson(pool[sure[order]], answers[order])


def standard(scores: np.ndarray) -> np.ndarray:
    """Bring scores to one scale: each document's around 0, with a variance of 1 over all."""
    centred = scores - scores.mean(axis=1, keepdims=True)
    return centred / max(float(centred.std()), 1e-12)


def surest(scores: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Choose answers by how far their label is ahead of the next: `shares` of all documents, one for each label.

    Gives places in `scores` (n, n_labels), and the labels there. Fixed shares keep a label that is
    answered too often from being learnt ever more often.
    """
    answers, ahead = scores.argmax(1), np.diff(np.sort(scores, axis=1)[:, -2:])[:, 0]
    chosen = []
    for label, share in enumerate(shares):
        places = np.flatnonzero(answers == label)
        first = np.argsort(-ahead[places], kind="stable")[: round(share * len(scores))]
        chosen.append(places[first])
    places = np.concatenate(chosen)
    return places, answers[places]


def _by_directions(corpus: Corpus, given: np.ndarray, pool: np.ndarray) -> np.ndarray:
    """Score the pool (n, n_labels) by logistic regression on the main directions of all these texts."""
    assert corpus.labels is not None
    both = directions(counts(corpus, np.concatenate([given, pool])))
    linear = LogisticRegression(C=10.0, max_iter=1000)
    linear.fit(both[: len(given)], corpus.labels[given])
    found = linear.predict_proba(both[len(given) :])
    return all_labels(found, linear.classes_, len(corpus.label_names), absent=0.0)


def counts(corpus: Corpus, rows: np.ndarray) -> csr_matrix:
    """Count each token of the vocabulary in each document: (n, n_vocab)."""
    documents = [corpus[row] for row in rows.tolist()]
    ends = np.cumsum([0, *map(len, documents)])
    ids = np.concatenate(documents).astype(np.int64)
    found = csr_matrix((np.ones(len(ids)), ids, ends), shape=(len(documents), len(corpus.vocab)))
    found.sum_duplicates()
    return found


def directions(found: csr_matrix) -> np.ndarray:
    """Give each document's place along the main directions of TF-IDF, at unit length: (n, N_DIRECTIONS or fewer)."""
    n_documents = found.shape[0]
    holding = np.bincount(found.indices, minlength=found.shape[1])
    is_telling = (holding >= max(2, RARE * n_documents)) & (holding <= COMMON * n_documents)
    if not is_telling.any():  # documents that are all alike
        return np.zeros((n_documents, 1))
    weights = TfidfTransformer(sublinear_tf=True).fit_transform(
        found[:, np.flatnonzero(is_telling)]
    )
    if weights.shape[1] <= N_DIRECTIONS:
        return weights.toarray()
    return normalize(TruncatedSVD(N_DIRECTIONS, random_state=0).fit_transform(weights))
