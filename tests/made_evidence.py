"""A report's worth of evidence about made answers, with texts and labels that try to break out of it."""

from __future__ import annotations

import numpy as np

from ulmfit.evaluation.answers import Answers
from ulmfit.evaluation.baselines import BASELINES, run_baseline
from ulmfit.evaluation.evidence import (
    ComparisonRow,
    Course,
    Evidence,
    Explanation,
    Grid,
    Predictions,
    Seconds,
)
from ulmfit.evaluation.gather import (
    baseline_row,
    calibration_rows,
    direction_row,
    error_row,
    label_rows,
    score_rows,
    surest_errors,
)
from ulmfit.evaluation.intervals import wilson
from ulmfit.evaluation.metrics import confusion_table
from ulmfit.training.linear import LabelledTexts
from ulmfit.training.temperature import best_temperature, softmax

NASTY = "<script>alert('x')</script> costs $5 & *more* | [link](http://x) \x00\ud800 " + "x" * 300
NAMES = (
    "neutral",
    "<b>bold</b>",
    "$x^2$",
    "日本語",
    "a|very long name of a label, longer than most",
)


def made_answers(n: int = 400, *, n_labels: int = 5, n_seeds: int = 2) -> tuple[np.ndarray, list]:
    """Labels, and for each seed the logits of a model that is right in about four of five cases."""
    chance = np.random.default_rng(0)
    labels = chance.integers(n_labels, size=n)
    truth = 4 * np.eye(n_labels)[labels]
    return labels, [chance.normal(0, 2.0, (n, n_labels)) + truth for _ in range(n_seeds)]


def made_evidence(*, n: int = 400, n_labels: int = 5) -> Evidence:
    """Fill every field."""
    labels, logits = made_answers(n, n_labels=n_labels)
    names = NAMES[:n_labels]
    seeds = [Answers(labels, softmax(row), names) for row in logits]
    fitted = best_temperature(logits[0], labels)
    cooled = Answers(labels, softmax(logits[0], temperature=fitted), names)
    texts = [f"word{label} and {n % 7} {NASTY}" for n, label in enumerate(labels)]
    chance = np.random.default_rng(1)
    noisy = np.where(chance.random(n) < 0.5, labels, chance.integers(n_labels, size=n))
    documents = LabelledTexts([f"w{a} x{b}" for a, b in zip(noisy, labels[::-1])], labels, names)
    accuracy = wilson(int(seeds[0].is_right.sum()), n)
    return Evidence(
        title="Made answers <em>of nobody</em>",
        protocol="clean",
        seeds=(0, 1),
        n_documents=n,
        notes=("Nobody wrote <i>these</i> documents.",),
        facts=(("data set", "made"), ("training documents", f"{n:,}")),
        scores=score_rows(seeds),
        directions=tuple(direction_row(name, seeds) for name in ("forward", "backward")),
        comparisons=(
            ComparisonRow("made, both directions", "accuracy", accuracy, 0.954, "Table 2", (0,)),
        ),
        baselines=tuple(
            baseline_row(seeds, run_baseline(name, documents, documents)) for name in BASELINES
        ),
        seconds=Seconds(90.0, 1.5),
        labels=label_rows(seeds),
        confusion=confusion_table(seeds[0]),
        calibration=calibration_rows(seeds[0], cooled, temperature=fitted, n_valid=len(labels)),
        courses=(made_course(),),
        errors=tuple(error_row(seeds[0], row, texts[row]) for row in surest_errors(seeds[0], n=5)),
        explanations=(Explanation("predicted <b>", ("not", "<i>bad</i>", "at"), (-0.5, 1.5, 0.0)),),
        predictions=Predictions(np.arange(n), tuple(seeds)),
    )


def made_course() -> Course:
    """Five epochs; of the layer groups, the lower one is frozen at first."""
    columns = ("epoch", "train_loss", "valid_loss", "accuracy")
    rows = tuple((epoch, 1 / epoch, 1.2 / epoch, 1 - 0.3 / epoch) for epoch in range(1, 6))
    rates = tuple((batch, 0.004 * (batch > 5), 0.01 - batch / 1000) for batch in range(1, 11))
    return Course("forward", Grid(columns, rows), Grid(("batch", "layer 1", "head"), rates))
