"""Values of exercises: made plain, compared, and written for people.

In: whatever a student's function returns. Out: nested lists of numbers, or one line that says what differs.
"""

from __future__ import annotations

import math
from typing import Any

_RELATIVE, _ABSOLUTE = 1e-4, 1e-6  # float32 passes, a wrong formula does not
_MOST_BITS = 1000  # a longer whole number has no float beside it
_MOST_CHARACTERS = 400


def plain(value: Any) -> Any:
    """Turn arrays, tensors and tuples, nested or not, into lists and Python's own numbers."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        return math.inf if value > 0 else -math.inf
    return value


def difference(got: Any, expected: Any, *, place: str = "") -> str:
    """Say in what a plain value differs from the expected one; "" if it does not."""
    where = f" at {place}" if place else ""
    if isinstance(expected, list):
        if not isinstance(got, list):
            return f"a list is expected{where}, not {_kind(got)}"
        if len(got) != len(expected):
            return f"length {len(expected)} is expected{where}, not {len(got)}"
        pairs = enumerate(zip(got, expected))
        found = (difference(g, e, place=f"{place}[{i}]") for i, (g, e) in pairs)
        return next(filter(None, found), "")
    if isinstance(got, bool) or not isinstance(got, (int, float)):
        same = isinstance(got, bool) and isinstance(expected, bool) and got == expected
        return "" if same else f"{_wanted(expected)} is expected{where}, not {_kind(got)}"
    if math.isnan(got):
        return f"nan (not a number){where}"
    same = math.isclose(got, expected, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE)
    return "" if same else f"{_short(expected)} is expected{where}, not {_short(got)}"


def _wanted(expected: Any) -> str:
    return str(expected) if isinstance(expected, bool) else "a number"


def _kind(got: Any) -> str:
    if got is None or isinstance(got, (bool, int, float)):
        return repr(got)
    kind = type(got).__name__
    article = "an" if kind[0].lower() in "aeiou" else "a"
    lazy = " (wrap it in list(...))" if hasattr(got, "__next__") or kind == "range" else ""
    return f"{article} {kind}{lazy}"


def written(value: Any) -> str:
    """Write a value as it would be typed, so that a failing input can be tried out by hand."""
    is_array = hasattr(value, "tolist") and getattr(value, "shape", ())
    text = f"np.array({_short(plain(value))})" if is_array else _short(plain(value))
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]} ..."


def _short(value: Any) -> str:
    """Write numbers without the digits that only rounding made."""
    if isinstance(value, list):
        return f"[{', '.join(map(_short, value))}]"
    if isinstance(value, float) and math.isfinite(value):
        return repr(float(f"{value:.6g}") + 0.0)  # + 0.0 turns -0.0 into 0.0
    if value is None or isinstance(value, (str, int, float)):
        return repr(value)
    return f"<{type(value).__name__}>"
