"""The notebooks: whole, clean, and as they run from top to bottom.

The quick ones are executed with every run of the tests, the others with those marked slow. All of them run in a folder of
their own, so that nothing is written beside them.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import socket
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
NBS = ROOT / "nbs"
FAST = ("01_text_to_ids", "02_batches")
ABSOLUTE = re.compile(
    r"(?<![\w.:/<~])(?:/(?:home|Users|root|tmp|usr|opt|mnt|var|work)/|[A-Z]:\\\\)"
)

_spec = importlib.util.spec_from_file_location("notebook_tools", NBS / "tools.py")
assert _spec and _spec.loader
tools = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tools)

COURSE = [path.stem for path in tools.notebooks()]
EXERCISES = sorted((NBS / "exercises").glob("*.ipynb"))
EVERY = [*tools.notebooks(), *EXERCISES, *sorted(tools.CLEAN.glob("*.ipynb"))]


def name(path: Path) -> str:
    return path.relative_to(NBS).with_suffix("").as_posix()


def test_the_course_is_complete() -> None:
    assert [stem[:2] for stem in COURSE] == [f"{number:02}" for number in range(12)]


@pytest.mark.parametrize("path", EVERY, ids=name)
def test_a_notebook_is_valid(path: Path) -> None:
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    ids = [cell["id"] for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    assert set(notebook.metadata) <= {"kernelspec", "language_info"}


@pytest.mark.parametrize("path", EVERY, ids=name)
def test_all_code_compiles_and_imports_no_star(path: Path) -> None:
    for cell in tools.read(path).cells:
        if cell.cell_type == "code":
            tree = ast.parse(cell.source, filename=f"{name(path)} {cell.id}")
            stars = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
            assert not any(alias.name == "*" for node in stars for alias in node.names)


@pytest.mark.parametrize("path", EVERY, ids=name)
def test_nothing_says_where_it_was_made(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert not ABSOLUTE.findall(re.sub(r'"image/png": "[^"]*"', "", source))
    if len(host := socket.gethostname()) > 3:
        assert host not in source


def test_a_path_would_be_noticed() -> None:
    for told in ("in /home/me/runs", "'/mnt/x'", json.dumps("C:\\Users\\me")):
        assert ABSOLUTE.search(told), told
    for fine in ("runs/00/tmp/x", "https://a.org/home/x", "a/usr/b", "</tmp>"):
        assert not ABSOLUTE.search(fine), fine


def test_outputs_and_clean_copies_are_current() -> None:
    assert list(tools.stale()) == []


@pytest.mark.parametrize("path", tools.notebooks(), ids=name)
def test_a_notebook_begins_and_ends_like_the_others(path: Path) -> None:
    cells = tools.read(path).cells
    assert cells[0].source.startswith(f"# {path.stem[:2]} ")
    assert len(re.findall("^- ", cells[0].source, re.MULTILINE)) == 3
    assert "## Try it" in cells[-1].source
    for target in re.findall(r"\]\(([^)#:]+)\)", "\n".join(cell.source for cell in cells)):
        assert (NBS / target).exists(), target


def test_a_clean_copy_has_headings_and_code_only() -> None:
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell("# A\nprose\n```\n# code\n```\n## B\nmore"),
            nbformat.v4.new_markdown_cell("only prose"),
            nbformat.v4.new_code_cell("# a comment\n1", execution_count=3),
        ]
    )
    notebook.cells[2].outputs = [nbformat.v4.new_output("stream", text="1")]
    clean = tools.cleaned(notebook)
    assert [cell.source for cell in clean.cells] == ["# A\n\n## B", "# a comment\n1"]
    assert clean.cells[1].outputs == [] and clean.cells[1].execution_count is None
    assert notebook.cells[2].outputs  # the original stays


def executed(stem: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a notebook in an empty folder."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    monkeypatch.setenv("ULMFIT_EXERCISES", str(folder / "record.json"))
    for given in ("ULMFIT_PRESET", "ULMFIT_DATASET"):
        monkeypatch.delenv(given, raising=False)
    found = tools.executed(tools.read(NBS / f"{stem}.ipynb"), folder)
    assert all(cell.execution_count for cell in found.cells if cell.cell_type == "code")


@pytest.mark.parametrize("stem", FAST)
def test_the_quick_notebooks_run(
    stem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executed(stem, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("stem", [stem for stem in COURSE if stem not in FAST])
def test_the_other_notebooks_run(
    stem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executed(stem, tmp_path, monkeypatch)
