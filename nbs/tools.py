"""Run the notebooks in place, and write their clean copies.

    python nbs/tools.py run 01_text_to_ids 02_batches     (all of them without names)
    python nbs/tools.py clean
    python nbs/tools.py check

`run` keeps the outputs of 00, 07 and 08 and strips all others. `clean` writes nbs/clean, the code under its
headings without prose and outputs, to retell from memory. `check` says what is stale, and exits with 1 then.
"""

from __future__ import annotations

import argparse
import copy
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode

NBS = Path(__file__).resolve().parent
CLEAN = NBS / "clean"
KEPT = ("00", "07", "08")  # whose outputs are committed
TIMEOUT = 1800  # seconds, of a cell


def notebooks() -> list[Path]:
    """List the course's notebooks in their order; the exercises are not among them."""
    return sorted(NBS.glob("[0-9][0-9]_*.ipynb"))


def read(path: Path) -> NotebookNode:
    """Read a notebook as version 4."""
    return nbformat.read(path, as_version=4)


def dumped(notebook: NotebookNode) -> str:
    """Write a notebook as it is committed."""
    return nbformat.writes(notebook).rstrip("\n") + "\n"


def save(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook, with the same line ends on every system."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(dumped(notebook), encoding="utf-8", newline="\n")


def executed(notebook: NotebookNode, folder: Path) -> NotebookNode:
    """Run all cells from top to bottom in `folder`, and give the notebook with its outputs."""
    from nbclient import NotebookClient

    found = copy.deepcopy(notebook)
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(found, timeout=TIMEOUT, kernel_name="python3", resources=resources).execute()
    for cell in found.cells:
        cell.metadata.pop("execution", None)  # when it ran, which differs every time
    found.metadata = notebook.metadata
    return found


def stripped(notebook: NotebookNode) -> NotebookNode:
    """Take the outputs away."""
    bare = copy.deepcopy(notebook)
    for cell in bare.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return bare


def cleaned(notebook: NotebookNode) -> NotebookNode:
    """Leave headings and code."""
    bare = stripped(notebook)
    bare.cells = [cell for cell in bare.cells if cell.cell_type == "code" or _headings(cell)]
    for cell in bare.cells:
        if cell.cell_type == "markdown":
            cell.source = _headings(cell)
    return bare


def stale() -> Iterator[str]:
    """Say what is not as this program would write it."""
    known = {path.name for path in notebooks()}
    for path in notebooks():
        notebook, copied = read(path), CLEAN / path.name
        if not copied.exists() or copied.read_text(encoding="utf-8") != dumped(cleaned(notebook)):
            yield f"nbs/clean/{path.name} is not that of nbs/{path.name}: python nbs/tools.py clean"
        is_bare = all(not cell.get("outputs") for cell in notebook.cells)
        if is_bare == path.name.startswith(KEPT):
            yield f"nbs/{path.name} {'lacks its' if is_bare else 'has'} outputs: python nbs/tools.py run {path.stem}"
    for copied in CLEAN.glob("*.ipynb"):
        if copied.name not in known:
            yield f"nbs/clean/{copied.name} belongs to no notebook: delete it"


def run(names: list[str]) -> None:
    """Run notebooks in place, and say what each cost."""
    # So that a checkout works where the package is not installed.
    paths = [str(NBS.parent), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    for path in notebooks():
        if names and path.stem not in names:
            continue
        begin, cpu = time.monotonic(), _children_seconds()
        found = executed(read(path), NBS)
        save(found if path.name.startswith(KEPT) else stripped(found), path)
        cost = f"{time.monotonic() - begin:.0f} s, {_children_seconds() - cpu:.0f} s of processor"
        print(f"{path.stem}: {cost}", flush=True)


def clean(names: list[str]) -> None:
    """Write the clean copies."""
    for path in notebooks():
        if not names or path.stem in names:
            save(cleaned(read(path)), CLEAN / path.name)


def check(names: list[str]) -> None:
    """Print what is stale."""
    if found := list(stale()):
        sys.exit("\n".join(found))


COMMANDS: dict[str, Callable[[list[str]], None]] = {"run": run, "clean": clean, "check": check}


def _headings(cell: NotebookNode) -> str:
    """Find the headings of a cell; a comment in a block of code is none."""
    prose = re.sub(r"^```.*?^```", "", cell.source, flags=re.MULTILINE | re.DOTALL)
    return "\n\n".join(line for line in prose.split("\n") if line.startswith("#"))


def _children_seconds() -> float:
    """Give the processor time of all kernels that have ended; 0 on Windows, which does not tell."""
    used = os.times()
    return used.children_user + used.children_system


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("names", nargs="*", metavar="NAME", help="notebooks, without .ipynb")
    given = parser.parse_args()
    COMMANDS[given.command](given.names)
