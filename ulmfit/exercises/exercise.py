"""What an exercise is: a task, a specification in plain loops, random inputs, and the wrong answers people give.

The student's stub is derived from the specification's name, arguments and docstring.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from types import FunctionType
from typing import Any


@dataclass(frozen=True)
class Wrong:
    """A typical wrong answer, and what to tell someone whose function gives it."""

    answer: Callable[..., Any]
    hint: str


@dataclass(frozen=True)
class Exercise:
    """One function to write, and how it is judged."""

    title: str
    task: str
    """Markdown: what the function is for, and exactly what it shall return."""
    spec: FunctionType
    """The right answer in plain loops, slow and easy to read; its docstring is that of the stub."""
    make: Callable[[Random, int], tuple[Any, ...]]
    """Draw one input of a size from 1 (the smallest there is) upwards."""
    hint: str
    """For a wrong answer that nobody has foreseen."""
    wrong: tuple[Wrong, ...]
    solution: FunctionType
    """A good answer, written another way than the specification."""
    home: str
    """The file of the library that does the same in earnest."""

    @property
    def function(self) -> str:
        """Name of the function to write."""
        return self.spec.__name__

    @property
    def arguments(self) -> tuple[str, ...]:
        """Names of its arguments."""
        return tuple(inspect.signature(self.spec).parameters)

    @property
    def stub(self) -> str:
        """Source of the empty function."""
        doc = textwrap.indent(f'"""{inspect.getdoc(self.spec)}"""', "    ")
        return f"def {self.function}({', '.join(self.arguments)}):\n{doc}\n    ...\n"

    @property
    def solution_source(self) -> str:
        """Source of the good answer, under the name and arguments that the student's function has."""
        source = inspect.getsource(self.solution)
        head = f"def {self.function}({', '.join(self.arguments)}):\n"
        return re.sub(r"\Adef .*?:\n", head, source, count=1, flags=re.DOTALL)


def coins(random: Random, n: int, *, low: int = -8, high: int = 8) -> list[float]:
    """Draw `n` numbers with few digits, so that a failing input can be read."""
    return [random.randint(2 * low, 2 * high) / 2 for _ in range(n)]
