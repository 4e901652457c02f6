"""Linear models of words and word pairs, which learn in seconds: majority, TF-IDF, NB-SVM.

In: labelled texts, raw or as a corpus's own tokens. Out: ways to score texts. Settings are constants, chosen once on
training reviews of IMDb: no test document helps to choose them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from ulmfit.errors import UserError

if TYPE_CHECKING:
    from ulmfit.text.corpus import Corpus

# What counts as a token, of raw texts and of a corpus's own tokens joined by spaces. Signs help
# NB-SVM, whose ratios set aside what says nothing, and harm TF-IDF when documents are few.
WORDS, READY_WORDS = r"\w+", r"\S*\w\S*"
WORDS_AND_SIGNS, READY_TOKENS = r"\w+|[^\w\s]", r"\S+"
BETA = 0.25  # NB-SVM's weight of the linear model against its mean size (Wang & Manning 2012)


@dataclass(frozen=True, eq=False)
class LabelledTexts:
    """Documents as a bag of n-grams sees them, with the codes of their labels."""

    texts: Sequence[str]
    labels: np.ndarray
    names: tuple[str, ...]
    is_tokenized: bool = False
    """The texts are tokens joined by spaces, to be taken as they stand."""

    def __post_init__(self) -> None:
        if not len(self.texts) or len(self.texts) != len(self.labels):
            raise UserError(f"{len(self.texts):,} texts with {len(self.labels):,} labels")

    @classmethod
    def of_corpus(
        cls, corpus: Corpus, split: str, *, rows: np.ndarray | None = None
    ) -> LabelledTexts:
        """Take the labelled documents of a split, or some rows of it, in the corpus's own tokens."""
        if corpus.labels is None or corpus.label_kind != "category":
            raise UserError(
                f"baselines need one label a document; {corpus.folder} has labels of kind {corpus.label_kind!r}"
            )
        rows = corpus.rows(split) if rows is None else rows
        rows = rows[corpus.labels[rows] >= 0]
        if not len(rows):
            raise UserError(f"{corpus.folder} has no labelled documents in split {split!r}")
        labels = np.asarray(corpus.labels[rows])
        return cls(ready_texts(corpus, rows), labels, corpus.label_names, is_tokenized=True)


def ready_texts(corpus: Corpus, rows: np.ndarray) -> list[str]:
    """Join the tokens of documents by spaces."""
    return [" ".join(corpus.tokens(row)) for row in rows.tolist()]


Scorer = Callable[[Sequence[str]], np.ndarray]
"""Texts -> (n, n_labels), the higher the likelier; probabilities where the model has them."""


def majority(train: LabelledTexts) -> Scorer:
    """Answer the most frequent label, with the labels' frequencies as probabilities."""
    shares = np.bincount(train.labels, minlength=len(train.names)) / len(train.labels)
    return lambda texts: np.tile(shares, (len(texts), 1))


def tfidf(train: LabelledTexts) -> Scorer:
    """Fit logistic regression on TF-IDF of words and word pairs."""
    vectorizer = TfidfVectorizer(sublinear_tf=True, **_ngrams(train, WORDS, READY_WORDS))
    linear = LogisticRegression(C=10.0, max_iter=1000)
    linear.fit(vectorizer.fit_transform(train.texts), train.labels)

    def scores(texts: Sequence[str]) -> np.ndarray:
        columns = linear.predict_proba(vectorizer.transform(texts))
        return all_labels(columns, linear.classes_, len(train.names), absent=0.0)

    return scores


def nbsvm(train: LabelledTexts) -> Scorer:
    """Fit a linear SVM for each label on naive Bayes' log-count ratios of word and word-pair presence."""
    vectorizer = CountVectorizer(
        binary=True, dtype=np.float64, **_ngrams(train, WORDS_AND_SIGNS, READY_TOKENS)
    )
    presence = vectorizer.fit_transform(train.texts)
    classes, weights, biases = fit_nbsvm(presence, train.labels)

    def scores(texts: Sequence[str]) -> np.ndarray:
        columns = vectorizer.transform(texts) @ weights + biases
        return all_labels(columns, classes, len(train.names), absent=columns.min() - 1)

    return scores


def fit_nbsvm(presence: Any, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fit each label against the rest: the labels that there are, and a column of weights and a bias for each."""
    classes = np.unique(labels)
    # Of two labels, one against the other says all; its mirror image is the other column.
    positives = classes[1:] if len(classes) == 2 else classes
    models = [_fit_label(presence, labels == label) for label in positives]
    weights, biases = np.stack([w for w, _ in models], axis=1), np.array([b for _, b in models])
    if len(classes) == 2:
        weights, biases = np.hstack([-weights, weights]), np.append(-biases, biases)
    return classes, weights, biases


def _fit_label(presence: Any, is_label: np.ndarray) -> tuple[np.ndarray, float]:
    """Fit one label against the rest: weights of the n-grams, and the bias."""
    ratio = log_count_ratio(presence, is_label)
    # With the indices of `presence`: of many documents there are millions.
    scaled = presence.data * ratio[presence.indices], presence.indices, presence.indptr
    svm = LinearSVC(C=0.1, random_state=0).fit(csr_matrix(scaled, presence.shape), is_label)
    weights = svm.coef_[0]
    mixed = (1 - BETA) * np.abs(weights).mean() + BETA * weights
    return ratio * mixed, BETA * float(svm.intercept_[0])


def log_count_ratio(presence: Any, is_label: np.ndarray) -> np.ndarray:
    """Give log((p / |p|) / (q / |q|)), p and q the documents with and without the label that hold an n-gram, plus 1."""
    p = 1 + np.asarray(presence[is_label].sum(axis=0)).ravel()
    q = 1 + np.asarray(presence[~is_label].sum(axis=0)).ravel()
    return np.log((p / p.sum()) / (q / q.sum()))


def _ngrams(train: LabelledTexts, raw: str, ready: str) -> dict[str, Any]:
    """Say to scikit-learn's vectorizers what a token is, and that pairs count."""
    pattern = ready if train.is_tokenized else raw
    return {"token_pattern": pattern, "lowercase": not train.is_tokenized, "ngram_range": (1, 2)}


def all_labels(
    columns: np.ndarray, classes: np.ndarray, n_labels: int, *, absent: float
) -> np.ndarray:
    """Give labels without a training document a column that never wins."""
    scores = np.full((len(columns), n_labels), absent)
    scores[:, classes] = columns
    return scores
