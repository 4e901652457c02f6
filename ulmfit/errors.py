"""What ends a command early, as one line each: what is wrong on the user's side, and a training that was stopped.

The command line prints the line and returns the code: 2 for a UserError, a Stopped knows its own.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable

_COMPARED, _LONGEST_NAME = 1_000, 100


class _OwnWords(Exception):
    """Keep to the message that it was raised with: fastai puts the name of a callback before others."""

    def __init__(self, message: str) -> None:
        self.message = " ".join(message.splitlines())  # names in it may hold line ends
        super().__init__(self.message)

    def __str__(self) -> str:
        return self.message


class UserError(_OwnWords):
    """Say in one line what is wrong with the input, where it is, and what to do about it."""


class Diverged(UserError):
    """Say that the loss has exploded, where, and which flag to turn down."""


INTERRUPTED = 130  # what a shell calls a program that Ctrl-C has ended


class Stopped(_OwnWords):
    """Say where a training was stopped on request; the same command goes on from there."""

    def __init__(self, message: str, *, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        """Ctrl-C, SIGTERM, --max-minutes, or what else has happened."""

    @property
    def exit_code(self) -> int:
        """What the program returns: 128 and the signal's number, as a shell has it; 3 when the time is over; else 1."""
        return {"Ctrl-C": INTERRUPTED, "SIGTERM": 143, "--max-minutes": 3}.get(self.reason, 1)


def _short(name: str) -> str:
    """Cut what is no name: the header of a file of another kind may be one long line."""
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}..."


def nearest(name: str, known: Iterable[str]) -> str:
    """Offer the known name that `name` was probably meant to be, as a clause for an error line."""
    names = [_short(str(k)) for k in itertools.islice(known, _COMPARED)]
    folded = {k.casefold().strip(): k for k in names}
    asked = _short(str(name)).casefold().strip()
    match = difflib.get_close_matches(asked, list(folded), n=1, cutoff=0.5)
    listing = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return (
        f"did you mean {folded[match[0]]!r}? " if match else ""
    ) + f"there is: {listing or 'nothing'}"
