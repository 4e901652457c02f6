"""Exercises and questions that check themselves.

    ulmfit.exercises.check("ex03", transplant)     # tests your function
    ulmfit.exercises.quiz("q05")                   # shows a question
    ulmfit.exercises.answer("q05", "b")            # grades your answer

`hint("ex03")` and `show_solution("ex03")` help on. `ulmfit exercises` in a terminal shows what is done and what comes next.
"""

from __future__ import annotations

from ulmfit.exercises.catalogue import EXERCISES
from ulmfit.exercises.checking import Checked, check, hint, show_solution
from ulmfit.exercises.exercise import Exercise, Wrong
from ulmfit.exercises.question import Choice, Number
from ulmfit.exercises.quizzes import QUESTIONS, Asked, Graded, answer, questionnaire, quiz

__all__ = [
    "EXERCISES",
    "QUESTIONS",
    "Asked",
    "Checked",
    "Choice",
    "Exercise",
    "Graded",
    "Number",
    "Wrong",
    "answer",
    "check",
    "hint",
    "questionnaire",
    "quiz",
    "show_solution",
]
