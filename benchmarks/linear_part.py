"""What a linear part is worth beside an encoder, and how loud it should speak: classifiers as they are, and with one.

    python benchmarks/linear_part.py CORPUS CLASSIFIER... [--shares 0.25 0.5 1 2] [--documents 3000] [--split test] [--precision auto] [--threads N] [--add-to OUT]

CLASSIFIER are folders that `ulmfit train-classifier` made from CORPUS; a linear part that one has is left out of
account. The linear part learns anew from the same documents, a teacher's lesson among them, and its loudness is set on the same held-out ones, as
in training, for each share. Accuracies are those of the same test documents, drawn with seed 0; with `--split train`
of training documents that are in no lesson and whose labels nothing has seen. Of two directions probabilities are averaged; `encoder_forward` and `encoder_backward` are each alone. One JSON line a classifier.
With `--add-to` the classifier is written once more, with the linear part as loud as the last share says, and the temperature of both together.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from ulmfit.evaluation.documents import taught_rows
from ulmfit.files import atomic_folder, from_json
from ulmfit.inference.answers import log_probabilities, probabilities
from ulmfit.inference.classifier import Classifier
from ulmfit.models.classifier_manifest import KIND, LINEAR, classifier_card
from ulmfit.models.label_set import LABELS
from ulmfit.models.linear_part import LinearPart
from ulmfit.models.parts import CARD, hashes
from ulmfit.text.corpus import Corpus
from ulmfit.text.holdout import with_label
from ulmfit.training.classifier_config import ClassifierConfig
from ulmfit.training.lesson import Lesson, asked
from ulmfit.training.linear_part import as_loud, fit_linear_part
from ulmfit.training.teacher import teach
from ulmfit.training.temperature import answers_temperature

NOTE = "a linear part was learnt afterwards from the same documents"


def main() -> None:
    """Answer with the encoder, the linear part, and both together."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus"), parser.add_argument("classifiers", nargs="+")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.25, 0.5, 1.0, 2.0])
    parser.add_argument("--documents", type=int, default=3000)
    parser.add_argument("--split", choices=["test", "train"], default="test")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--add-to", type=Path)
    told = parser.parse_args()
    if told.add_to and len(told.classifiers) > 1:
        parser.error("--add-to takes one classifier")
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
        beside = encoder(held_out)
        forward = beside[0]  # which says how loud, as in training
        part = fit_linear_part(known, learnt.train, seed=config.seed)
        figures = {"encoder": accuracy(logits), "linear": accuracy(part.logits(documents)[None])}
        if len(logits) > 1:
            each = zip(classifier.directions, logits)
            figures |= {f"encoder_{name}": accuracy(own[None]) for name, own in each}
        for share in told.shares:
            scaled = as_loud(part, forward, held_out, share=share)
            figures[f"with_{share:g}"] = accuracy(logits + scaled.logits(documents))
        if told.add_to:
            beside = beside + scaled.logits(held_out)
            write(told.add_to, classifier, scaled, beside, corpus.labels[rows.valid])
        print(json.dumps({"classifier": folder, "labels": len(rows.train), "lesson": len(lesson.rows), "answered": len(truth), **figures}), flush=True)  # fmt: skip


def write(
    out: Path, classifier: Classifier, linear: LinearPart, logits: np.ndarray, truth: np.ndarray
) -> None:
    """Write a classifier with its linear part; `logits` and `truth` are those of the documents held out."""
    parts = classifier.parts
    found = log_probabilities(logits, parts.labels)
    labels = parts.labels.tempered(answers_temperature(found, truth))
    made = parts.manifest.provenance
    metrics = dict(made.metrics) | {
        "valid_accuracy_with_linear": float((found.argmax(1) == truth).mean())
    }
    with atomic_folder(out, kind=KIND) as folder:
        shutil.copytree(classifier.folder, folder, dirs_exist_ok=True)
        (folder / LINEAR).write_bytes(linear.to_bytes())
        labels.save(folder)
        manifest = replace(
            parts.manifest,
            provenance=replace(made, metrics=metrics, notes=(*made.notes, NOTE)),
            files={**parts.manifest.files, **hashes(folder, (LINEAR, LABELS))},
        )
        (folder / CARD).write_text(classifier_card(manifest, labels), encoding="utf-8")
        manifest.save(folder)


if __name__ == "__main__":
    main()
