"""The answers of baselines to documents of a corpus, kept in a folder for every model that had the same labels.

In: names in BASELINES, and the documents to learn from and to answer. Out: their answers, computed once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np

from ulmfit import __version__
from ulmfit.evaluation.answers import Answers
from ulmfit.evaluation.baselines import BaselineAnswers, run_baseline
from ulmfit.files import atomic_file, fingerprint, read_json, write_json
from ulmfit.text.corpus import Corpus
from ulmfit.training.linear import LabelledTexts


def baseline_answers(
    names: Iterable[str],
    corpus: Corpus,
    *,
    given: np.ndarray,
    answered: np.ndarray,
    keep: Path | None = None,
) -> Iterator[BaselineAnswers]:
    """Train baselines on the documents `given` and let them answer others, unless that was done before."""

    @cache
    def texts() -> tuple[LabelledTexts, LabelledTexts]:
        rows = {"train": given, "test": answered}
        train, test = (LabelledTexts.of_corpus(corpus, s, rows=r) for s, r in rows.items())
        return train, test

    assert corpus.labels is not None
    truth = np.asarray(corpus.labels[answered])
    numbers = [hashlib.sha256(rows.astype(np.int64).tobytes()).hexdigest() for rows in (given, answered)]  # fmt: skip
    for name in names:
        if keep is None:
            yield run_baseline(name, *texts())
            continue
        made_by = version("scikit-learn"), __version__
        key = fingerprint([name, corpus.fingerprint, numbers, *made_by])[:16]
        facts, scores = keep / f"{name}-{key}.json", keep / f"{name}-{key}.npy"
        if not facts.is_file():  # it is written last
            _write(run_baseline(name, *texts()), facts, scores)
        answers = Answers(truth, np.load(scores, allow_pickle=False), corpus.label_names)
        yield BaselineAnswers(name, answers, **read_json(facts))


def _write(found: BaselineAnswers, facts: Path, scores: Path) -> None:
    with atomic_file(scores) as part, open(part, "wb") as file:
        np.save(file, found.answers.scores)
    names = ("n_train", "fit_seconds", "predict_seconds")
    with atomic_file(facts) as part:
        write_json(part, {name: getattr(found, name) for name in names})
