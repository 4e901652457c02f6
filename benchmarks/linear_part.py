"""What a linear part is worth beside an encoder, and how loud it should speak: classifiers as they are, and with one.

    python benchmarks/linear_part.py CORPUS CLASSIFIER... [--shares 0.25 0.5 1 2] [--documents 3000] [--split test] [--precision auto] [--threads N]

CLASSIFIER are folders that `ulmfit train-classifier` made from CORPUS; a linear part that one has is left out of
account. The linear part learns anew from the same documents, a teacher's lesson among them, and its loudness is set on the same held-out ones, as
in training, for each share. Accuracies are those of the same test documents, drawn with seed 0; with `--split train`
of training documents that are in no lesson and whose labels nothing has seen. Of two directions probabilities are averaged. One JSON line a classifier.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

import numpy as np
import torch

from ulmfit.evaluation.documents import taught_rows
from ulmfit.files import from_json
from ulmfit.inference.answers import probabilities
from ulmfit.inference.classifier import Classifier
from ulmfit.text.corpus import Corpus
from ulmfit.text.holdout import with_label
from ulmfit.training.classifier_config import ClassifierConfig
from ulmfit.training.lesson import Lesson, asked
from ulmfit.training.linear_part import as_loud, fit_linear_part
from ulmfit.training.teacher import teach


def main() -> None:
    """Answer with the encoder, the linear part, and both together."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus"), parser.add_argument("classifiers", nargs="+")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.25, 0.5, 1.0, 2.0])
    parser.add_argument("--documents", type=int, default=3000)
    parser.add_argument("--split", choices=["test", "train"], default="test")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--threads", type=int, default=0)
    told = parser.parse_args()
    if told.threads:
        torch.set_num_threads(told.threads)
    corpus = Corpus.load(told.corpus)
    assert corpus.labels is not None
    for folder in told.classifiers:
        classifier = Classifier.load(folder)
        if taught_rows(classifier, corpus) is None:
            parser.error(f"{folder} was not trained on {told.corpus}")
        settings = classifier.manifest.provenance.config["config"]
        config = from_json(ClassifierConfig, asdict(ClassifierConfig()) | settings)
        rows = config.rows(corpus)
        pool = asked(corpus, rows, config)
        lesson = teach(corpus, rows.train, pool) if len(pool) else Lesson(pool, pool)
        learnt, known = lesson.added_to(rows), lesson.known(corpus)
        seen = np.union1d(learnt.train, rows.valid)
        free = np.setdiff1d(with_label(corpus, corpus.rows(told.split)), seen)
        answered = np.sort(np.random.default_rng(0).permutation(free)[: told.documents])
        documents, truth = [corpus[row] for row in answered.tolist()], corpus.labels[answered]
        held_out = [corpus[row] for row in rows.valid.tolist()]

        def encoder(of: list[np.ndarray], classifier: Classifier = classifier) -> np.ndarray:
            each = [
                classifier.encoder_logits(of, name, precision=told.precision)
                for name in classifier.directions
            ]
            return np.stack(each)

        def accuracy(
            logits: np.ndarray, classifier: Classifier = classifier, truth: np.ndarray = truth
        ) -> float:
            found = probabilities(logits, classifier.parts.labels)
            return round(float((found.argmax(1) == truth).mean()), 4)

        logits = encoder(documents)
        loudness = encoder(held_out)[0]  # of the forward direction, as in training
        part = fit_linear_part(known, learnt.train, seed=config.seed)
        figures = {"encoder": accuracy(logits), "linear": accuracy(part.logits(documents)[None])}
        for share in told.shares:
            scaled = as_loud(part, loudness, held_out, share=share)
            figures[f"with_{share:g}"] = accuracy(logits + scaled.logits(documents))
        print(json.dumps({"classifier": folder, "labels": len(rows.train), "lesson": len(lesson.rows), "answered": len(truth), **figures}), flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
