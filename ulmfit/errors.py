"""What goes wrong on the user's side, as one line each. The command line prints it and exits with code 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Say in one line what is wrong with the input, where it is, and what to do about it."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Offer the known name that `name` was probably meant to be, as a clause for an error line."""
    names = [str(k) for k in known]
    folded = {k.casefold().strip(): k for k in names}
    match = difflib.get_close_matches(str(name).casefold().strip(), list(folded), n=1, cutoff=0.5)
    listing = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return (
        f"did you mean {folded[match[0]]!r}? " if match else ""
    ) + f"there is: {listing or 'nothing'}"
