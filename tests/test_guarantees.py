"""Every test that docs/guarantees.md names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/\w+\.py)::(\w+)`( \(slow\))?", PAGE)))


def test_the_page_names_tests() -> None:
    assert len(NAMED) > 25
    promises, _, _ = PAGE.partition("## What was measured")
    for line in promises.splitlines():
        if line.startswith("| ") and not line.startswith("| promise"):
            assert re.search(r"`tests/\w+\.py::\w+`", line), line


@pytest.mark.parametrize(("path", "name", "is_slow"), NAMED)
def test_it_is_there(path: str, name: str, is_slow: str) -> None:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    found = [node for node in tree.body if getattr(node, "name", "") == name]
    assert len(found) == 1
    marks = " ".join(map(ast.unparse, getattr(found[0], "decorator_list", [])))
    assert bool(is_slow) == ("pytest.mark.slow" in marks.replace("marks=[pytest.mark.slow", ""))
