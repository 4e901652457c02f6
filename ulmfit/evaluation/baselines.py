"""Linear models that a language model has to beat, trained on the same labels: majority, TF-IDF, NB-SVM.

In: labelled texts. Out: answers and the seconds they took. A baseline is one function that returns a way to score
texts, and one line in BASELINES.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ulmfit.errors import UserError, nearest
from ulmfit.evaluation.answers import Answers
from ulmfit.training.linear import WORDS, LabelledTexts, Scorer, majority, nbsvm, tfidf


@dataclass(frozen=True, eq=False)
class BaselineAnswers:
    """What a baseline answered, and its cost."""

    name: str
    answers: Answers
    n_train: int
    fit_seconds: float
    predict_seconds: float


BASELINES: dict[str, Callable[[LabelledTexts], Scorer]] = {
    "majority": majority,
    "tfidf": tfidf,
    "nbsvm": nbsvm,
}


def run_baseline(name: str, train: LabelledTexts, test: LabelledTexts) -> BaselineAnswers:
    """Train a baseline and let it answer the test documents, by the clock."""
    if name not in BASELINES:
        raise UserError(f"no baseline {name!r}: {nearest(name, BASELINES)}")
    if train.names != test.names or train.is_tokenized != test.is_tokenized:
        raise UserError(
            "baselines need training and test documents of one kind, with the same labels"
        )
    # What was trained on one label, or on texts without a word, can only answer the commonest label.
    is_taught = len(np.unique(train.labels)) > 1 and any(re.search(WORDS, t) for t in train.texts)
    fit = BASELINES[name] if is_taught else majority
    start = time.perf_counter()
    scorer = fit(train)
    fitted = time.perf_counter()
    scores = scorer(test.texts)
    done = time.perf_counter()
    answers = Answers(test.labels, scores, test.names)
    return BaselineAnswers(name, answers, len(train.labels), fitted - start, done - fitted)
