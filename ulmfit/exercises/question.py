"""What a question is: one of several replies, or a number, with the reason why each usual answer is right or wrong."""

from __future__ import annotations

import html
import math
import re
import textwrap
from dataclasses import dataclass

from ulmfit.errors import UserError, nearest

# The little Markdown that questions use, in the order in which it is replaced.
_MARKS = {r"`([^`]+)`": "code", r"\*\*([^*]+)\*\*": "b", r"(?<![*\w])\*([^*\s][^*]*)\*": "i"}


@dataclass(frozen=True)
class Grade:
    """What an answer is worth, and why."""

    is_right: bool
    why: str


@dataclass(frozen=True)
class Reply:
    """A reply to choose, and why it is right or wrong."""

    says: str
    why: str
    is_right: bool


def right(says: str, why: str) -> Reply:
    """Make the right reply."""
    return Reply(says, why, True)


def wrong(says: str, why: str) -> Reply:
    """Make a reply that people give."""
    return Reply(says, why, False)


@dataclass(frozen=True)
class Choice:
    """A question with one right reply: a, b, c ..."""

    text: str
    replies: tuple[Reply, ...]

    @property
    def letters(self) -> str:
        """The letters of the replies."""
        return "abcdefgh"[: len(self.replies)]

    @property
    def options(self) -> tuple[str, ...]:
        """The replies with their letters."""
        return tuple(f"{letter}) {r.says}" for letter, r in zip(self.letters, self.replies))

    @property
    def how(self) -> str:
        """How to answer."""
        return f"one of {', '.join(self.letters)}"

    @property
    def answer(self) -> str:
        """The right reply with its letter."""
        return next(o for o, r in zip(self.options, self.replies) if r.is_right)

    @property
    def why(self) -> str:
        """Why it is right."""
        return next(r.why for r in self.replies if r.is_right)

    @property
    def mistakes(self) -> tuple[str, ...]:
        """Why the others are wrong."""
        pairs = zip(self.letters, self.replies)
        return tuple(f"{letter}) {r.why}" for letter, r in pairs if not r.is_right)

    def grade(self, reply: object) -> Grade:
        """Judge a letter."""
        letter = str(reply).strip().rstrip(")").lower()
        if len(letter) != 1 or letter not in self.letters:
            raise UserError(f"no reply {reply!r}: {nearest(letter, self.letters)}")
        chosen = self.replies[self.letters.index(letter)]
        return Grade(chosen.is_right, chosen.why)


@dataclass(frozen=True)
class Usual:
    """A number that people give, and why it is wrong."""

    value: float
    why: str


@dataclass(frozen=True)
class Number:
    """A question whose answer is a number."""

    text: str
    value: float
    why: str
    usual: tuple[Usual, ...]
    tolerance: float = 0.0
    """How far from the value an answer may be."""
    options: tuple[str, ...] = ()

    @property
    def how(self) -> str:
        """How to answer."""
        return "a number"

    @property
    def answer(self) -> str:
        """The right number."""
        return f"{_digits(self.value)}."

    @property
    def mistakes(self) -> tuple[str, ...]:
        """Why other numbers are wrong."""
        return tuple(f"{_digits(usual.value)}: {usual.why}" for usual in self.usual)

    def grade(self, reply: object) -> Grade:
        """Judge a number, or text that is one."""
        number = _number(reply)
        if self._is_close(number, self.value):
            return Grade(True, self.why)
        known = next((u.why for u in self.usual if self._is_close(number, u.value)), "")
        return Grade(False, known or "that is not one of the usual mistakes: work it out on paper.")

    def _is_close(self, number: float, value: float) -> bool:
        return math.isclose(number, value, rel_tol=1e-9, abs_tol=self.tolerance)


Question = Choice | Number


def _number(reply: object) -> float:
    try:
        return float(str(reply).strip().replace(",", "").replace("_", ""))
    except ValueError:
        raise UserError(f"the answer is a number, such as 12 or 0.5, not {reply!r}") from None


def _digits(value: float) -> str:
    return f"{value:,.6f}".rstrip("0").rstrip(".")


def as_text(name: str, question: Question) -> str:
    """Write a question for a terminal."""
    options = (wrapped(option, indent="  ", further="     ") for option in question.options)
    how = f'Answer: ulmfit.exercises.answer("{name}", ...) with {question.how}.'
    return "\n".join([wrapped(f"{name}  {question.text}"), *options, how])


def wrapped(text: str, *, indent: str = "", further: str = "") -> str:
    """Break a line at the width of a page."""
    return textwrap.fill(
        text, 100, initial_indent=indent, subsequent_indent=further, break_on_hyphens=False
    )


def rich(text: str) -> str:
    """Turn the little Markdown of the questions into HTML."""
    text = html.escape(text, quote=False)
    for mark, tag in _MARKS.items():
        text = re.sub(mark, rf"<{tag}>\1</{tag}>", text)
    return text


def markdown(name: str, question: Question) -> str:
    """Write a question as Markdown, its answer folded away in HTML, which every renderer knows."""
    options = "".join(f"- {option}\n" for option in question.options)
    mistakes = "".join(f"<li>{rich(mistake)}</li>\n" for mistake in question.mistakes)
    return (
        f"**{name}.** {question.text}\n\n{options}\n"
        f"<details><summary>Answer</summary>\n<p><b>{rich(question.answer)}</b> {rich(question.why)}</p>\n"
        f"<p>Why not:</p>\n<ul>\n{mistakes}</ul>\n</details>"
    )
