"""The verb `exercises`: which exercises and questions are done, and what comes next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ulmfit.exercises.catalogue import EXERCISES
from ulmfit.exercises.checking import next_exercise
from ulmfit.exercises.quizzes import QUESTIONS, next_question
from ulmfit.exercises.record import Record, forget, load_record, record_file
from ulmfit.flags import Switch, parse
from ulmfit.output import print_result, say, table


@dataclass(frozen=True)
class ExercisesFlags:
    """Show which exercises and questions are done, and what comes next. They are answered in Python or a notebook."""

    reset: Switch = False
    """Forget what was done, and begin anew."""
    json: Switch = False
    """Print the result as JSON on stdout."""


def exercises(argv: Sequence[str]) -> None:
    """Show the state of the course's exercises."""
    flags = parse(ExercisesFlags, "exercises", argv)
    if flags.reset:
        forget()
        say("forgot what was done")
    record = load_record()
    print_result(_content(record) if flags.json else _shown(record))


def _content(record: Record) -> dict[str, object]:
    return {
        "exercises": [
            {
                "name": name,
                "title": exercise.title,
                "done": name in record.passed,
                "notebook": _notebook(name),
            }
            for name, exercise in EXERCISES.items()
        ],
        "questions": {name: record.answered.get(name) for name in QUESTIONS},
        "next_exercise": next_exercise(record) or None,
        "next_question": next_question(record) or None,
        "file": str(record_file() or ""),
    }


def _shown(record: Record) -> str:
    upcoming = next_exercise(record)
    states = {name: "done" if name in record.passed else "" for name in EXERCISES}
    if upcoming:
        states[upcoming] = "next"
    rows: list[tuple[str, ...]] = [
        (name, states[name], exercise.title, _notebook(name))
        for name, exercise in EXERCISES.items()
    ]
    n_right = sum(bool(record.answered.get(name)) for name in QUESTIONS)
    lines = [table(rows), "", _advice(upcoming)]
    lines.append(f"questions: {n_right} of {len(QUESTIONS)} answered right")
    if question := next_question(record):
        lines[-1] += f'; next: ulmfit.exercises.quiz("{question}")'
    return "\n".join(lines)


def _advice(upcoming: str) -> str:
    if not upcoming:
        return "exercises: all done"
    call = f'ulmfit.exercises.check("{upcoming}", {EXERCISES[upcoming].function})'
    return f"next: write {EXERCISES[upcoming].function}, then {call}"


def _notebook(name: str) -> str:
    return f"nbs/exercises/{name}.ipynb"
