"""The blocks of a report: each a function from evidence to paragraphs, tables and pictures, listed in BLOCKS.

A new block is one function and one line; it appears in HTML and in Markdown alike, in this order. A
block without data returns no parts and is left out. What they are made of is in `parts.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ulmfit.evaluation import plots
from ulmfit.evaluation.evidence import ComparisonRow, Course, Evidence, ScoreRow
from ulmfit.evaluation.parts import (
    SHARES,
    Paragraph,
    Part,
    Picture,
    Table,
    basis,
    cell,
    percent,
    shown,
    signed,
    title,
)

TINY = 1e-9  # what is rarer is not worth its digits


def scores(evidence: Evidence) -> list[Part]:
    """Show the metrics."""
    if not evidence.scores:
        return []
    has_spread = any(row.spread for row in evidence.scores)
    columns = ("metric", "value", *(["sd over seeds"] if has_spread else []))
    rows = tuple((*_score(row), *([_spread(row)] if has_spread else [])) for row in evidence.scores)
    methods = " and ".join(sorted({row.figure.method for row in evidence.scores}))
    return [Table(columns, rows, f"{basis(evidence)} ({methods}).")]


def _score(row: ScoreRow) -> tuple[str, str]:
    return title(row.name), shown(row.figure, row.name)


def _spread(row: ScoreRow) -> str:
    if row.spread is None or math.isnan(row.spread.sd):
        return "–"
    is_share = row.name in SHARES
    return f"± {100 * row.spread.sd:.2f}" if is_share else f"± {row.spread.sd:.4f}"


def directions(evidence: Evidence) -> list[Part]:
    """Set both directions beside their average."""
    if not evidence.directions:
        return []
    names = [row.name for row in evidence.directions[0].scores]
    average = tuple(row for row in evidence.scores if row.name in names)
    lines = [(row.name, row.scores) for row in evidence.directions]
    if average:
        lines.append(("both, averaged", average))
    rows = tuple((name, *(shown(r.figure, r.name) for r in scores)) for name, scores in lines)
    return [Table(("direction", *map(title, names)), rows, f"{basis(evidence)}.")]


def comparisons(evidence: Evidence) -> list[Part]:
    """Set our figures beside published ones."""
    if not evidence.comparisons:
        return []
    columns = ("row", "ours", "theirs", "difference", "seeds", "source")
    rows = tuple(_comparison(row, evidence) for row in evidence.comparisons)
    note = f"{basis(evidence)}. A published figure is taken as exact, so the interval of the difference is that of ours."
    return [Table(columns, rows, note)]


def _comparison(row: ComparisonRow, evidence: Evidence) -> tuple[str, ...]:
    ours = row.ours
    ends = (ours.value - row.theirs, ours.low - row.theirs, ours.high - row.theirs)
    theirs = percent(row.theirs) if row.metric in SHARES else f"{row.theirs:.4f}"
    seeds = ", ".join(map(str, row.seeds) if row.seeds else evidence.seed_names)
    return row.name, shown(ours, row.metric), theirs, signed(*ends, row.metric), seeds, row.source


def baselines(evidence: Evidence) -> list[Part]:
    """Set the model beside simple ones that were trained on the same labels."""
    if not evidence.baselines:
        return []
    columns = (
        "baseline", "accuracy", "macro F1", "model − baseline", "alone right: model / baseline",
        "McNemar p", "training", "prediction",
    )  # fmt: skip
    rows = tuple(
        (
            row.name,
            shown(row.accuracy),
            shown(row.macro_f1),
            signed(row.difference.value, row.difference.low, row.difference.high),
            f"{row.test.only_first:,} / {row.test.only_second:,}",
            f"{row.test.p_value:.2g}" if row.test.p_value > TINY else f"< {TINY:g}",
            f"{row.fit_seconds:.1f}\N{NO-BREAK SPACE}s",
            f"{row.predict_seconds:.1f}\N{NO-BREAK SPACE}s",
        )
        for row in evidence.baselines
    )
    ours = {row.name: shown(row.figure) for row in evidence.scores}
    if evidence.seconds and {"accuracy", "macro_f1"} <= set(ours):
        cost = (
            "–" if math.isnan(s) else f"{s:.1f}\N{NO-BREAK SPACE}s"
            for s in (evidence.seconds.fit, evidence.seconds.predict)
        )
        rows = (("this model", ours["accuracy"], ours["macro_f1"], *("–" * 3), *cost), *rows)
    note = (
        f"{basis(evidence)}. Baselines are fitted once, on {evidence.baselines[0].n_train:,} documents. "
        "Differences are in points, with paired bootstrap intervals; McNemar's test is exact, and of "
        "several seeds the least certain one. The seconds of the model are those of one seed, without its language model."
    )
    return [Table(columns, rows, note)]


def labels(evidence: Evidence) -> list[Part]:
    """Show how each label fares."""
    if not evidence.labels:
        return []
    rows = tuple(
        (row.name, *(shown(f) for f in (row.precision, row.recall, row.f1)), f"{row.support:,}")
        for row in evidence.labels
    )
    table = Table(("label", "precision", "recall", "F1", "documents"), rows, f"{basis(evidence)}.")
    words = f"F1 of each label with its 95 % interval; {basis(evidence)}."
    return [table, Picture("labels", plots.label_bars(evidence.labels), words)]


def confusion(evidence: Evidence) -> list[Part]:
    """Show which labels are taken for which."""
    if not evidence.confusion:
        return []
    names = [row.name for row in evidence.labels] or [
        str(n) for n in range(len(evidence.confusion))
    ]
    figure = plots.confusion_plot(evidence.confusion, names)
    words = f"Counts of {evidence.split} documents, seed {evidence.seed_names[0]}: true labels down, predicted labels across."
    pairs = [
        (count, names[true], names[said])
        for true, row in enumerate(evidence.confusion)
        for said, count in enumerate(row)
        if count and true != said
    ]
    commonest = sorted(pairs, key=lambda pair: -pair[0])[:5]
    rows = tuple((true, said, f"{count:,}") for count, true, said in commonest)
    table = [Table(("true", "predicted as", "documents"), rows, "The commonest confusions.")]
    return [Picture("confusion", figure, words), *(table if rows else [])]


def calibration(evidence: Evidence) -> list[Part]:
    """Show whether confidence means what it says."""
    found = evidence.calibration
    if found is None:
        return []
    chosen = f", chosen on {found.n_valid:,} validation documents" if found.n_valid else ""
    text = (
        f"Temperature {found.temperature:.3f}{chosen}; it changes no answer, only its confidence."
    )
    rows = (
        (title("ece"), shown(found.ece_before, "ece"), shown(found.ece_after, "ece")),
        (title("nll"), shown(found.nll_before, "nll"), shown(found.nll_after, "nll")),
    )
    basis_of_one = f"{evidence.documents}, seed {evidence.seed_names[0]}, 95 % intervals"
    figure = plots.reliability_plot(found.before, found.after)
    return [
        Paragraph(text),
        Table(("", "before", "after"), rows, f"{basis_of_one} in brackets."),
        Picture("reliability", figure, f"Accuracy at each confidence; {basis_of_one} as bars."),
    ]


def training(evidence: Evidence) -> list[Part]:
    """Show how training went."""
    return [part for course in evidence.courses for part in _course(course, evidence)]


def _course(course: Course, evidence: Evidence) -> list[Part]:
    """Show the training of one direction."""
    parts: list[Part] = []
    whose = f"the {course.direction} model, seed {evidence.seed_names[0]}"
    if course.schedule is not None:
        words = f"Learning rate of each layer group of {whose}; where its line is missing, it is frozen."
        figure = plots.schedule_plot(course.schedule)
        parts.append(Picture(f"schedule-{course.direction}", figure, words))
    if course.history.rows:
        words = f"The losses, and the figures between 0 and 1, of {whose}."
        figure = plots.curves_plot(course.history)
        parts.append(Picture(f"curves-{course.direction}", figure, words))
        note = f"The course of {whose}, on the documents held out: not results, hence without intervals."
        rows = tuple(tuple(cell(value) for value in row) for row in course.history.rows)
        parts.append(Table(course.history.columns, rows, note))
    return parts


def errors(evidence: Evidence) -> list[Part]:
    """Show the wrong answers of highest confidence; of numbers, which have none, the farthest off."""
    if not evidence.errors:
        return []
    end = f"of seed {evidence.seed_names[0]}; texts are shortened."
    if all(math.isnan(row.confidence) for row in evidence.errors):
        rows = tuple((f"{row.true} → {row.predicted}", row.excerpt) for row in evidence.errors)
        return [Table(("true → predicted", "text"), rows, f"The farthest off, {end}")]
    rows = tuple(
        (f"{row.true} → {row.predicted}", percent(row.confidence), row.excerpt)
        for row in evidence.errors
    )
    note = f"The most confident wrong answers, {end}"
    return [Table(("true → predicted", "confidence", "text"), rows, note)]


def explanations(evidence: Evidence) -> list[Part]:
    """Show which words spoke for a label and which against it."""
    return list(evidence.explanations)


def facts(evidence: Evidence) -> list[Part]:
    """Show what the figures were obtained from."""
    return [Table(("", ""), evidence.facts)] if evidence.facts else []


BLOCKS: dict[str, Callable[[Evidence], list[Part]]] = {
    "Scores": scores,
    "Directions": directions,
    "Ours against published figures": comparisons,
    "Baselines": baselines,
    "Labels": labels,
    "Confusions": confusion,
    "Calibration": calibration,
    "Training": training,
    "Worst errors": errors,
    "Explanations": explanations,
    "Data and run": facts,
}
