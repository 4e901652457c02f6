"""What a teacher is worth with few labels: a classifier with and without one, and NB-SVM with and without its answers.

    python benchmarks/few_labels.py CORPUS LM [--labels 100 500] [--seeds 0 1] [--preset laptop] [--documents 1000] [--threads N] [--linear]

CORPUS and LM are folders of `ulmfit prepare` and `ulmfit finetune-lm`, as they lie in a folder of `ulmfit fit` or
`ulmfit reproduce`. Each seed draws its own labels of the train split; the others are hidden, and their texts
are the ones that the teacher labels. All four answer the same test documents, drawn with seed 0:
`nbsvm` and `plain` have learnt from the labels, `nbsvm_taught` and `taught` from the teacher's answers as well.
`--linear` leaves out the classifiers, which take minutes. `lesson` is how many documents it labelled, `right` the share of them that it labelled as people did. One JSON line a draw.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import ulmfit
from ulmfit.text.corpus import Corpus
from ulmfit.text.holdout import with_label
from ulmfit.training.lesson import asked
from ulmfit.training.linear import LabelledTexts, nbsvm
from ulmfit.training.presets import CLASSIFIER_PRESETS
from ulmfit.training.teacher import teach

ALWAYS = 1 << 40  # labels below which there is a teacher


def silent(_: object) -> None:
    """Listen to a training without a word."""


def linear(corpus: Corpus, given: np.ndarray, answered: np.ndarray) -> float:
    """Train NB-SVM, and give its accuracy."""
    train = LabelledTexts.of_corpus(corpus, "train", rows=given)
    test = LabelledTexts.of_corpus(corpus, "test", rows=answered)
    return float((nbsvm(train)(test.texts).argmax(1) == test.labels).mean())


def main() -> None:
    """Draw, train, answer, and print one JSON line for each draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus"), parser.add_argument("lm")
    parser.add_argument("--labels", type=int, nargs="+", default=[100, 500])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--preset", default="laptop")
    parser.add_argument("--documents", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--linear", action="store_true", help="NB-SVM alone")
    told = parser.parse_args()
    if told.threads:
        torch.set_num_threads(told.threads)
    corpus = Corpus.load(told.corpus)
    test = with_label(corpus, corpus.rows("test"))
    answered = np.sort(np.random.default_rng(0).permutation(test)[: told.documents])
    assert corpus.labels is not None
    for n_labels in told.labels:
        for seed in told.seeds:
            config = replace(
                CLASSIFIER_PRESETS[told.preset], n_labels=n_labels, seed=seed, direction="forward", few_labels=None
            )  # fmt: skip
            taught = replace(config, few_labels=ALWAYS)
            rows = config.rows(corpus)
            pool = asked(corpus, rows, taught)
            if not len(pool):
                parser.error(
                    f"{told.corpus} has too few texts without label for a teacher, or too short ones"
                )
            start = time.perf_counter()
            lesson = teach(corpus, rows.train, pool)
            found: dict[str, float] = {"teacher_seconds": time.perf_counter() - start}
            truth = corpus.labels[lesson.rows]
            found["right"] = float((truth == lesson.labels)[truth >= 0].mean())
            found["nbsvm"] = linear(corpus, np.union1d(rows.train, rows.valid), answered)
            given = lesson.added_to(rows).train
            found["nbsvm_taught"] = linear(lesson.known(corpus), given, answered)
            arms = {} if told.linear else {"plain": config, "taught": taught}
            for name, own in arms.items():
                with tempfile.TemporaryDirectory() as folder:
                    out = Path(folder) / "classifier"
                    start = time.perf_counter()
                    made = ulmfit.train_classifier(
                        told.lm, corpus, out, config=own, progress=silent
                    )
                    found[f"{name}_seconds"] = time.perf_counter() - start
                    logits = made.logits([corpus[row] for row in answered.tolist()], "forward")
                found[name] = float((logits.argmax(1) == corpus.labels[answered]).mean())
            figures = {name: round(value, 4) for name, value in found.items()}
            print(json.dumps({"labels": n_labels, "seed": seed, "lesson": len(lesson.rows), **figures}), flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
