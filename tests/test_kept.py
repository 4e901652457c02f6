"""Answers of baselines that are kept are those of the baselines, and belong to their labels alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ulmfit.evaluation import kept
from ulmfit.evaluation.baselines import run_baseline
from ulmfit.evaluation.kept import baseline_answers
from ulmfit.text.corpus import Corpus
from ulmfit.training.linear import LabelledTexts

NAMES = ("majority", "tfidf")


def test_they_are_computed_once_for_the_same_labels(
    demo_corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, answered = demo_corpus.rows("train"), demo_corpus.rows("test")
    train, test = (
        LabelledTexts.of_corpus(demo_corpus, split, rows=rows)
        for split, rows in (("train", given), ("test", answered))
    )
    expected = [run_baseline(name, train, test) for name in NAMES]

    def answers(rows: np.ndarray) -> list[kept.BaselineAnswers]:
        return list(
            baseline_answers(NAMES, demo_corpus, given=rows, answered=answered, keep=tmp_path)
        )

    first = answers(given)
    with monkeypatch.context() as patch:
        patch.setattr(kept, "run_baseline", lambda *_: pytest.fail("trained again"))
        again = answers(given)
    for one, two, three in zip(expected, first, again, strict=True):
        assert one.name == two.name == three.name
        assert np.array_equal(one.answers.scores, two.answers.scores)
        assert np.array_equal(two.answers.scores, three.answers.scores)
        assert np.array_equal(one.answers.is_right, three.answers.is_right)
        assert (one.n_train, two.fit_seconds) == (three.n_train, three.fit_seconds)
    assert answers(given[1:])[1].n_train == len(given) - 1
    monkeypatch.setattr(kept, "__version__", "another")
    monkeypatch.setattr(kept, "run_baseline", lambda *_: pytest.fail("trained again"))
    with pytest.raises(pytest.fail.Exception, match="trained again"):
        answers(given)


def test_half_written_answers_do_not_count(demo_corpus: Corpus, tmp_path: Path) -> None:
    rows = demo_corpus.rows("train"), demo_corpus.rows("test")
    first = next(
        baseline_answers(["tfidf"], demo_corpus, given=rows[0], answered=rows[1], keep=tmp_path)
    )
    (scores,) = tmp_path.glob("*.npy")
    scores.write_bytes(b"")
    next(tmp_path.glob("*.json")).unlink()
    again = next(
        baseline_answers(["tfidf"], demo_corpus, given=rows[0], answered=rows[1], keep=tmp_path)
    )
    assert np.array_equal(first.answers.scores, again.answers.scores)
