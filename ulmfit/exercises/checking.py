"""The verdict on a student's function: said at once as text, and shown in a notebook.

In: the name of an exercise and a function. Out: `Checked`, true if it passed.
"""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ulmfit.errors import UserError, nearest
from ulmfit.exercises.catalogue import EXERCISES
from ulmfit.exercises.exercise import Exercise
from ulmfit.exercises.question import wrapped
from ulmfit.exercises.record import Record, load_record, save_record
from ulmfit.exercises.trial import Failure, failures, hint_for
from ulmfit.exercises.values import written

_LINES_PRINTED = 5


@dataclass(frozen=True)
class Checked:
    """What a check has found."""

    name: str
    passed: bool
    text: str
    """Everything there is to say."""
    record: Record

    def __bool__(self) -> bool:
        return self.passed

    def __repr__(self) -> str:
        return f"<{self.name} {'passed' if self.passed else 'not yet'}>"

    def _repr_html_(self) -> str:
        boxes = (_box(name, is_done=name in self.record.passed) for name in EXERCISES)
        verdict = "passed" if self.passed else "not yet"
        return f"<p><b>{html.escape(self.name)}: {verdict}</b> &nbsp; {' '.join(boxes)}</p>"


def check(name: str, fn: Callable[..., Any], *, seed: int = 0) -> Checked:
    """Test your function for an exercise; the smallest input that it fails on is shown with a hint."""
    exercise = exercise_named(name)
    if not callable(fn):
        raise UserError(
            f'{name}: give the function itself, without calling it: check("{name}", {exercise.function})'
        )
    found = failures(exercise, fn, seed=seed)
    record = load_record()
    if not found:
        record = record.with_exercise(name)
        save_record(record)
    text = _failed(name, exercise, found) if found else _passed(name, exercise, record)
    print(text)
    return Checked(name, not found, text, record)


def hint(name: str) -> str:
    """Say what an exercise's function has to do, in one sentence."""
    return exercise_named(name).hint


def show_solution(name: str) -> None:
    """Print a good answer."""
    print(exercise_named(name).solution_source)


def exercise_named(name: str) -> Exercise:
    """Look an exercise up."""
    if name not in EXERCISES:
        raise UserError(f"no exercise {name!r}: {nearest(name, EXERCISES)}")
    return EXERCISES[name]


def next_exercise(record: Record) -> str:
    """Name the first exercise that has not been passed; "" after the last."""
    return next((name for name in EXERCISES if name not in record.passed), "")


def _passed(name: str, exercise: Exercise, record: Record) -> str:
    following = next_exercise(record)
    then = (
        f"Next: {following}, {EXERCISES[following].title.lower()}."
        if following
        else "That was the last one: all are done."
    )
    return (
        f"{name} passed: {exercise.title}. The library's own: {exercise.home}.\n"
        f"{sum(n in EXERCISES for n in record.passed)} of {len(EXERCISES)} done. {then}"
    )


def _failed(name: str, exercise: Exercise, found: list[Failure]) -> str:
    first = found[0]
    inputs = [
        (argument, written(value)) for argument, value in zip(exercise.arguments, first.arguments)
    ]
    got = first.outcome.error or written(first.outcome.value)
    rows = [*inputs, ("expected", written(first.expected)), ("got", got)]
    fault = first.outcome.fault(first.expected)
    if fault != got:
        rows.append(("fault", fault))
    if first.outcome.printed.strip():
        rows.append(("printed", _printed(first.outcome.printed)))
    wide = max(len(label) for label, _ in rows)
    lines = [f"  {label:{wide}}  {value}" for label, value in rows]
    tip = wrapped(
        hint_for(exercise, found), indent=f"  {'hint':{wide}}  ", further=" " * (wide + 4)
    )
    title = f"{name} not yet: {exercise.title}. The smallest input that fails:"
    return "\n".join([title, *lines, tip])


def _printed(text: str) -> str:
    """Keep the first lines of what the function printed on that input."""
    lines = text.strip().splitlines()
    return " / ".join(lines[:_LINES_PRINTED]) + (" ..." if len(lines) > _LINES_PRINTED else "")


def _box(name: str, *, is_done: bool) -> str:
    colours = "background:#2e7d32;color:#fff" if is_done else "background:#e0e0e0;color:#333"
    return f"<span style='{colours};padding:1px 6px;border-radius:4px'>{html.escape(name)}</span>"
