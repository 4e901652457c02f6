"""What a linear part is worth beside an encoder, and how loud it should speak: classifiers as they are, and with one.

    python benchmarks/linear_part.py CORPUS CLASSIFIER... [--shares 0.25 0.5 1 2] [--documents 3000] [--precision auto] [--threads N]

CLASSIFIER are folders that `ulmfit train-classifier` made from CORPUS; a linear part that one has is left out of
account. The linear part learns anew from the same documents (not from a teacher's lesson), and its loudness is set on the same held-out ones, as
in training, for each share. Accuracies are those of the same test documents, drawn with seed 0; of two directions
probabilities are averaged. One JSON line a classifier.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
import torch

from ulmfit.evaluation.documents import taught_rows
from ulmfit.inference.answers import probabilities
from ulmfit.inference.classifier import Classifier
from ulmfit.text.corpus import Corpus
from ulmfit.text.holdout import with_label
from ulmfit.training.linear_part import as_loud, fit_linear_part


def main() -> None:
    """Answer with the encoder, the linear part, and both together."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus"), parser.add_argument("classifiers", nargs="+")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.25, 0.5, 1.0, 2.0])
    parser.add_argument("--documents", type=int, default=3000)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--threads", type=int, default=0)
    told = parser.parse_args()
    if told.threads:
        torch.set_num_threads(told.threads)
    corpus = Corpus.load(told.corpus)
    test = with_label(corpus, corpus.rows("test"))
    answered = np.sort(np.random.default_rng(0).permutation(test)[: told.documents])
    documents = [corpus[row] for row in answered.tolist()]
    assert corpus.labels is not None
    truth = corpus.labels[answered]
    for folder in told.classifiers:
        classifier = Classifier.load(folder)
        rows = taught_rows(classifier, corpus)
        if rows is None:
            parser.error(f"{folder} was not trained on {told.corpus}")
        held_out = [corpus[row] for row in rows.valid.tolist()]

        def encoder(of: list[np.ndarray], classifier: Classifier = classifier) -> np.ndarray:
            each = [
                classifier.encoder_logits(of, name, precision=told.precision)
                for name in classifier.directions
            ]
            return np.stack(each)

        def accuracy(logits: np.ndarray, classifier: Classifier = classifier) -> float:
            found = probabilities(logits, classifier.parts.labels)
            return round(float((found.argmax(1) == truth).mean()), 4)

        logits = encoder(documents)
        loudness = encoder(held_out)[0]  # of the forward direction, as in training
        part = fit_linear_part(corpus, rows.train, seed=classifier.manifest.provenance.seed or 0)
        figures = {"encoder": accuracy(logits), "linear": accuracy(part.logits(documents)[None])}
        for share in told.shares:
            scaled = as_loud(part, loudness, held_out, share=share)
            figures[f"with_{share:g}"] = accuracy(logits + scaled.logits(documents))
        print(json.dumps({"classifier": folder, "labels": len(rows.train), "answered": len(truth), **figures}), flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
