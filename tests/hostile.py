"""What fuzzing tests share: ways to damage a file, hostile JSON, and the law that every reader keeps."""

from __future__ import annotations

import contextlib
import copy
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from ulmfit.errors import UserError

Result = TypeVar("Result")

# Examples of a law: a few at every run, many when somebody has the time.
DEPTHS = [40, pytest.param(3_000, marks=[pytest.mark.slow, pytest.mark.timeout(1_800)])]


def examples(n: int) -> settings:
    """Let a law be tried so often, however long one example takes."""
    return settings(max_examples=n, deadline=None, suppress_health_check=list(HealthCheck))


def lawful(call: Callable[[], Result]) -> Result | None:
    """Return what a reader returns, or None for a refusal in one line; anything else it raises is a failure."""
    try:
        return call()
    except UserError as refusal:
        said = str(refusal)
        assert said.strip() and "\n" not in said, said
        assert len(said) < 20_000
        return None


# --- bytes


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Flip, cut, splice and insert bytes, one to three times."""
    found = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(0, len(found) - 1)))
        to = min(len(found), at + draw(st.sampled_from([0, 1, 1, 2, 4, 8, 30, 400])))
        kind = draw(st.sampled_from(["flip", "cut", "drop", "twice", "insert", "replace"]))
        if kind == "flip" and found:
            found[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "cut":
            del found[at:]
        elif kind == "drop":
            del found[at:to]
        elif kind == "twice":
            found[at:at] = found[at:to]
        else:
            found[at : to if kind == "replace" else at] = draw(
                st.one_of(
                    st.binary(max_size=12),
                    st.sampled_from([b"\0", b"\xff" * 8, b'"', b"\n", b"[" * 40, b"9" * 40]),
                )
            )
    return bytes(found)


# --- JSON

STRINGS = st.one_of(
    st.text(max_size=6),
    st.sampled_from(["", "\ud800", "a\nb", "\0", "nan", "../x", "9" * 30, "forward", "xxpad"]),
)
NUMBERS = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from([0, 1, -1, 2, 2**31, 2**63, 10**18, 10**400, -(10**400), 1e308, 0.5]),
)


def nested(depth: int) -> Any:
    """Put an empty list into as many others."""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | STRINGS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=4), inner, max_size=3)
        | st.builds(nested, st.just(400))
    ),
    max_leaves=6,
)


@st.composite
def edited(draw: st.DrawFn, content: Any) -> Any:
    """Replace, drop or add values anywhere in a JSON value, one to three times."""
    content = copy.deepcopy(content)
    for _ in range(draw(st.integers(1, 3))):
        parent, key = None, None
        inner = content
        while isinstance(inner, (dict, list)) and inner:
            keys = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
            parent, key = inner, draw(st.sampled_from(keys[:60]))
            inner = parent[key]
            if draw(st.booleans()):
                break
        if parent is None:
            return draw(JSON)
        kind = draw(st.sampled_from(["set", "set", "set", "drop", "add"]))
        if kind == "drop":
            del parent[key]
        elif kind == "add" and isinstance(parent, dict):
            parent[draw(st.text(max_size=4))] = draw(JSON)
        else:
            parent[key] = draw(JSON)
    return content


def write(path: Path, content: Any) -> None:
    """Write JSON that may hold what UTF-8 cannot: escapes can."""
    path.write_text(json.dumps(content), encoding="ascii")


@contextlib.contextmanager
def replaced(path: Path, content: bytes):
    """Let a file hold something else for a while."""
    before = path.read_bytes()
    path.write_bytes(content)
    try:
        yield path
    finally:
        path.write_bytes(before)


def peak_mb(call: Callable[[], Any]) -> float:
    """Measure the memory that Python's allocator gives out at most."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()
