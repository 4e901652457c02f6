"""Asking and grading: a question shown, an answer judged, the page of all of them.

In: the name of a question, and a reply. Out: what is shown in a terminal or notebook.
"""

from __future__ import annotations

import html
import sys
from dataclasses import dataclass
from typing import TypeVar

from ulmfit.errors import UserError, nearest
from ulmfit.exercises.question import Question, as_text, markdown, rich, wrapped
from ulmfit.exercises.questions_batches import BATCHES
from ulmfit.exercises.questions_text import TEXT
from ulmfit.exercises.questions_training import TRAINING
from ulmfit.exercises.questions_transfer import TRANSFER
from ulmfit.exercises.record import Record, load_record, save_record

Shown = TypeVar("Shown")

SECTIONS: dict[str, dict[str, Question]] = {
    "The idea": TRANSFER,
    "From text to ids": TEXT,
    "Batches": BATCHES,
    "Models and training": TRAINING,
}
# To add a question: a line in the dict of its section.
QUESTIONS: dict[str, Question] = {
    name: question for section in SECTIONS.values() for name, question in section.items()
}

_HEAD = """\
# Questionnaire

Questions about every step of ULMFiT, with the answers folded away. They follow the questions that end chapter 10 of the
fastai book, in words of our own, and batch size and sequence length never have the same value. To be graded, answer in
Python: `ulmfit.exercises.quiz("{first}")` shows a question, `ulmfit.exercises.answer("{first}", "b")` says whether b is right,
and why not if it is not. `ulmfit exercises` shows which are left.

This page is made from the questions' data by `python nbs/make_exercises.py`."""


@dataclass(frozen=True)
class Asked:
    """A question to look at."""

    name: str
    question: Question

    def __str__(self) -> str:
        return as_text(self.name, self.question)

    def __repr__(self) -> str:
        return f"<question {self.name}>"

    def _repr_html_(self) -> str:
        options = "".join(
            f"<li style='list-style:none'>{rich(o)}</li>" for o in self.question.options
        )
        listed = f"<ul>{options}</ul>" if options else ""
        how = html.escape(f'ulmfit.exercises.answer("{self.name}", ...)')
        return (
            f"<p><b>{self.name}</b> {rich(self.question.text)}</p>{listed}"
            f"<p>Answer: <code>{how}</code> with {self.question.how}.</p>"
        )


@dataclass(frozen=True)
class Graded:
    """What an answer was worth."""

    name: str
    is_right: bool
    why: str
    following: str
    """Name of the next question without a right answer; "" after the last."""

    def __bool__(self) -> bool:
        return self.is_right

    def __str__(self) -> str:
        verdict = f"{self.name} {'right' if self.is_right else 'wrong'}: {self.why}"
        return f"{wrapped(verdict)}\n{self._then}"

    def __repr__(self) -> str:
        return f"<{self.name} {'right' if self.is_right else 'wrong'}>"

    @property
    def _then(self) -> str:
        if not self.following:
            return "All questions are answered right."
        then = "Try again" if self.following == self.name else "Next"
        return f'{then}: ulmfit.exercises.quiz("{self.following}")'

    def _repr_html_(self) -> str:
        colour, word = ("#2e7d32", "right") if self.is_right else ("#c62828", "wrong")
        verdict = f"<b>{self.name}: <span style='color:{colour}'>{word}</span>.</b>"
        return f"<p>{verdict} {rich(self.why)}</p><p>{html.escape(self._then)}</p>"


def quiz(name: str = "") -> Asked:
    """Show a question; without a name, the next one that has not been answered right."""
    name = name or next_question(load_record()) or next(iter(QUESTIONS))
    return _shown(Asked(name, question_named(name)))


def answer(name: str, reply: str | float) -> Graded:
    """Grade a reply: a letter, or a number."""
    grade = question_named(name).grade(reply)
    record = load_record().with_question(name, is_right=grade.is_right)
    save_record(record)
    return _shown(Graded(name, grade.is_right, grade.why, next_question(record, after=name)))


def question_named(name: str) -> Question:
    """Look a question up."""
    if name not in QUESTIONS:
        raise UserError(f"no question {name!r}: {nearest(name, QUESTIONS)}")
    return QUESTIONS[name]


def next_question(record: Record, *, after: str = "") -> str:
    """Name the next question without a right answer, one further on first; "" if there is none."""
    names = list(QUESTIONS)
    start = names.index(after) if after else 0
    turned = names[start:] + names[:start]
    return next((name for name in turned if not record.answered.get(name)), "")


def questionnaire() -> str:
    """Write the page of all questions and answers, as Markdown."""
    blocks = []
    for title, questions in SECTIONS.items():
        blocks += [f"## {title}", *(markdown(*entry) for entry in questions.items())]
    head = _HEAD.format(first=next(iter(QUESTIONS)))
    return "\n\n".join([head, *blocks]) + "\n"


def _shown(result: Shown) -> Shown:
    """Print a result, except in a notebook, which draws it by itself."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if not hasattr(shell, "kernel"):
        print(result)
    return result
