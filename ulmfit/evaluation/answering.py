"""A classifier and a corpus -> its answers to the documents of a split, read from their ids.

The corpus's vocabulary, tokenizer and labels have to be the classifier's: anything else is refused, since
every figure would be of another task.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ulmfit.errors import UserError
from ulmfit.evaluation.answers import Answers
from ulmfit.inference.answers import probabilities
from ulmfit.inference.classifier import Classifier
from ulmfit.models.label_set import LabelSet
from ulmfit.models.precision import Precision
from ulmfit.text.corpus import Corpus

WINDOW_TOKENS = 1 << 20  # of documents that are read together
Report = Callable[[str, int], None]
"""Called with what is counted and how many are done."""


@dataclass(frozen=True, eq=False)
class Answered:
    """What one classifier answered."""

    classifier: Classifier
    answers: Answers
    untempered: Answers
    """The same at temperature 1."""
    directions: dict[str, Answers]
    """Of each direction alone, where the answers average two."""
    seconds: float


def answer(
    classifier: Classifier,
    corpus: Corpus,
    rows: np.ndarray,
    *,
    precision: Precision = "auto",
    progress: Report | None = None,
) -> Answered:
    """Let a classifier answer the documents `rows`, a window at a time."""
    start, found = time.perf_counter(), []
    for window in windows(corpus, rows):
        documents = [corpus[row] for row in window.tolist()]
        found.append([classifier.logits(documents, d, precision=precision) for d in classifier.directions])  # fmt: skip
        if progress:
            progress("documents", sum(len(logits) for logits, *_ in found))
    logits = np.concatenate(found, axis=1)  # (directions, documents, outputs)
    seconds, labels = time.perf_counter() - start, classifier.parts.labels
    assert corpus.labels is not None
    truth = np.asarray(corpus.labels[rows])
    each = {
        name: _answers(logits[place : place + 1], truth, labels)
        for place, name in enumerate(classifier.directions)
    }
    return Answered(
        classifier,
        _answers(logits, truth, labels),
        _answers(logits, truth, labels.tempered(1.0)),
        each if len(each) > 1 else {},
        seconds,
    )


def windows(corpus: Corpus, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Cut rows into pieces of about as many tokens, so that memory does not depend on how many there are."""
    lengths = np.maximum(1, corpus.offsets[rows + 1] - corpus.offsets[rows])
    number = np.cumsum(lengths) // WINDOW_TOKENS
    yield from np.split(rows, np.flatnonzero(np.diff(number)) + 1)


def _answers(logits: np.ndarray, truth: np.ndarray, labels: LabelSet) -> Answers:
    found = probabilities(logits, labels)
    if labels.kind == "number":
        return Answers(truth, found[:, 0], (), "number")
    return Answers(truth, found, labels.names, labels.kind)


def require_same_task(classifier: Classifier, corpus: Corpus) -> None:
    """Refuse a corpus whose vocabulary, tokenizer or labels are not the classifier's."""
    ours, theirs = f"the classifier {classifier.folder}", f"the corpus {corpus.folder}"
    repair = (
        "evaluate it on the corpus that it was trained on, or train one on this corpus: "
        f"`ulmfit train-classifier LM {corpus.folder} --out CLASSIFIER`"
    )
    if corpus.label_kind == "none":
        raise UserError(
            f"{theirs} has no labels, which an evaluation needs: prepare it again with --label COLUMN"
        )
    if classifier.vocab != corpus.vocab:
        pairs = zip(classifier.vocab, corpus.vocab, strict=False)
        at = next((f"; id {i} is {a!r} and {b!r}" for i, (a, b) in enumerate(pairs) if a != b), "")
        shared = len(set(classifier.vocab) & set(corpus.vocab))
        raise UserError(
            f"the vocabularies of {ours} ({len(classifier.vocab):,} tokens) and of {theirs} "
            f"({len(corpus.vocab):,}, {shared:,} of them in both) differ{at}: {repair}"
        )
    if classifier.manifest.fingerprints.tokenizer != corpus.manifest.tokenizer_fingerprint:
        raise UserError(f"{theirs} was cut by another tokenizer than that of {ours}: {repair}")
    labels = LabelSet.of(corpus)
    if (labels.kind, labels.names) != (classifier.label_kind, classifier.labels):
        raise UserError(
            f"{ours} answers {_in_short(classifier.parts.labels)}, and the labels of {theirs} "
            f"are {_in_short(labels)}: {repair}"
        )


def _in_short(labels: LabelSet) -> str:
    shown = ", ".join(labels.names[:8]) + (", ..." if len(labels.names) > 8 else "")
    return f"{shown} ({labels.kind})"
