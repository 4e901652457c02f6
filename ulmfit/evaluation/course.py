"""A classifier's folder -> how its training went: epochs and learning rates as rows that a report can draw."""

from __future__ import annotations

import math

from ulmfit.evaluation.evidence import Course, Grid
from ulmfit.history import HISTORY, STEPS, EpochRow, StepRow, read_history, read_steps
from ulmfit.inference.classifier import Classifier

_COLUMNS = ("epoch", "train_loss", "valid_loss", "accuracy", "seconds")


def courses_of(classifier: Classifier) -> tuple[Course, ...]:
    """Read the histories of all directions; a converted classifier has none."""
    found = (_course(classifier, direction) for direction in classifier.directions)
    return tuple(course for course in found if course)


def fit_seconds(courses: tuple[Course, ...]) -> float:
    """Add up the seconds of all epochs; not a number without any."""
    found = [
        float(row[course.history.columns.index("seconds")])
        for course in courses
        for row in course.history.rows
    ]
    return sum(found) if found else math.nan


def _course(classifier: Classifier, direction: str) -> Course | None:
    # A folder of both directions keeps two of each file, named after the direction.
    own = f"-{direction}" if len(classifier.directions) > 1 else ""
    history, steps = (
        classifier.folder / name.replace(".csv", f"{own}.csv") for name in (HISTORY, STEPS)
    )
    if not history.is_file():
        return None
    rates = read_steps(steps) if steps.is_file() else []
    schedule = _schedule(rates, classifier.arch.encoder.n_layers) if rates else None
    return Course(direction, _epochs(read_history(history)), schedule)


def _epochs(rows: list[EpochRow]) -> Grid:
    """Keep the columns that were measured."""
    kept = [c for c in _COLUMNS if any(not math.isnan(getattr(row, c)) for row in rows)]
    names = tuple(name.replace("_", " ") for name in kept)
    return Grid(names, tuple(tuple(getattr(row, c) for c in kept) for row in rows))


def _schedule(rows: list[StepRow], n_layers: int) -> Grid:
    names = ("embedding", *(f"layer {n}" for n in range(1, n_layers + 1)), "head")
    n_groups = len(rows[0].lrs)
    if len(names) != n_groups:  # trained in groups of someone's own
        names = tuple(f"group {n}" for n in range(1, n_groups + 1))
    return Grid(("batch", *names), tuple((row.step, *row.lrs) for row in rows))
