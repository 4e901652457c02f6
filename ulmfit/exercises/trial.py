"""A student's function tried on many inputs, small ones first: every call its outcome, whatever happens in it.

In: an exercise and a function. Out: the smallest input that it fails on, and what was wrong.
"""

from __future__ import annotations

import contextlib
import copy
import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from ulmfit.exercises.exercise import Exercise, Wrong
from ulmfit.exercises.values import difference, plain, written

_SIZES, _PER_SIZE = range(1, 13), 12
_MOST_ASKED = 40  # failures that typical wrong answers are compared with
_SECONDS = 10.0  # for all inputs together


@dataclass(frozen=True)
class Outcome:
    """What one call gave."""

    value: Any = None
    """The plain answer; None if there is none."""
    error: str = ""
    """The exception as one line."""
    changed: tuple[str, ...] = ()
    """Names of arguments that the function has changed."""
    printed: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether the function seems not to be written yet."""
        return self.error.startswith("NotImplementedError") or (
            self.value is None and not self.error
        )

    def fault(self, expected: Any) -> str:
        """Say what is wrong with it; "" if nothing is."""
        if self.error:
            return self.error
        if wrong := difference(self.value, expected):
            return wrong
        return f"the answer is right, but {', '.join(self.changed)} was changed" * bool(
            self.changed
        )

    def is_like(self, other: Outcome) -> bool:
        """Tell whether a student's call went the same way: the same answer, or the same kind of exception."""
        if self.error or other.error:
            return self.error.partition(":")[0] == other.error.partition(":")[0]
        return not difference(other.value, self.value)


@dataclass(frozen=True)
class Failure:
    """An input, what was expected, and what came."""

    arguments: tuple[Any, ...]
    expected: Any
    outcome: Outcome

    @property
    def size(self) -> int:
        """How much there is to read."""
        return sum(len(written(argument)) for argument in self.arguments)


def run(exercise: Exercise, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Outcome:
    """Call a function on a copy of the input; what it prints and raises is caught."""
    given, said = copy.deepcopy(arguments), io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            value = plain(function(*given))
            changed = tuple(
                name
                for name, now, before in zip(exercise.arguments, given, arguments)
                if plain(now) != plain(before)
            )
    except (Exception, SystemExit) as error:
        return Outcome(error=_one_line(error), printed=said.getvalue())
    return Outcome(value, "", changed, said.getvalue())


def cases(exercise: Exercise, seed: int) -> Iterator[tuple[Any, ...]]:
    """Draw inputs, small ones first."""
    random = Random(seed)
    for size in _SIZES:
        drawn = [exercise.make(random, size) for _ in range(_PER_SIZE)]
        yield from sorted(drawn, key=lambda arguments: sum(len(written(a)) for a in arguments))


def failures(exercise: Exercise, function: Callable[..., Any], *, seed: int) -> list[Failure]:
    """List the inputs on which a function fails, smallest first."""
    found, end = [], time.monotonic() + _SECONDS
    for arguments in cases(exercise, seed):
        outcome = run(exercise, function, arguments)
        expected = plain(exercise.spec(*copy.deepcopy(arguments)))
        if outcome.fault(expected):
            found.append(Failure(arguments, expected, outcome))
        if time.monotonic() > end:  # too slow to be tried on all inputs, which is a failure as well
            late = Outcome(error=f"TimeoutError: all inputs together may take {_SECONDS:g} seconds")
            return found or [Failure(arguments, expected, late)]
    return sorted(found, key=lambda failure: failure.size)


def hint_for(exercise: Exercise, found: list[Failure]) -> str:
    """Recognise a typical wrong answer, or a fault that any exercise can have."""
    first = found[0].outcome
    name = exercise.function
    if first.is_empty:
        return (
            f"{name} gives nothing back; write its body, and end it with `return`: {exercise.hint}"
        )
    if first.error.startswith("TypeError") and "positional argument" in first.error:
        return f"it is called as {name}({', '.join(exercise.arguments)})."
    if first.changed and not difference(first.value, found[0].expected):
        return f"whoever calls {name} still needs {', '.join(first.changed)}: work on a copy."
    return _recognised(exercise, found) or exercise.hint


def _recognised(exercise: Exercise, found: list[Failure]) -> str:
    """Give the hint of the wrong answer that explains most of the failures; "" if none explains half of them."""
    asked = found[:: 1 + len(found) // _MOST_ASKED]  # small and large ones
    explained = [
        sum(_explains(exercise, wrong, failure) for failure in asked) for wrong in exercise.wrong
    ]
    most = max(explained)
    return exercise.wrong[explained.index(most)].hint if 2 * most > len(asked) else ""


def _explains(exercise: Exercise, wrong: Wrong, failure: Failure) -> bool:
    other = run(exercise, wrong.answer, failure.arguments)
    return bool(other.fault(failure.expected)) and other.is_like(failure.outcome)


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")[:300]
