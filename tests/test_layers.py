"""The order of the house: a module imports only what stands above it, and heavy libraries stay in their rooms."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "ulmfit"
# From the top of the house to the bottom; a room without folder or file yet is fine.
ORDER = (
    "errors", "config", "markup", "unfinished", "files", "history", "progress", "run_folder", "text", "models", "inference", "training", "stages", "evaluation",
    "exercises",
    "recipe", "reproduction", "estimator", "doctor", "output", "usage", "flags", "verb_flags", "stage_flags",
    "verbs", "stage_verbs", "predict_verb", "recipe_verb", "explain_verb", "evaluate_verb", "reproduce_verb", "exercises_verb", "cli", "__main__",
)  # fmt: skip
# Who may import them; a folder stands for all of its files.
HEAVY = {
    "fastai": ("text/batches.py", "models/", "training/"),
    "torch": (
        "text/batches.py",
        "text/loader.py",
        "models/",
        "training/",
        "inference/",
        "doctor.py",
        "stage_verbs.py",
    ),
}
FILES = sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> list[str]:
    """List the modules that a file imports anywhere; `from ulmfit import config` counts as ulmfit.config."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def room(module: str) -> str:
    """Name the room of a module below ulmfit; "" for the package itself, whose names are lazy."""
    rest = module.split(".")[1:]
    return rest[0] if rest and rest[0] in ORDER else ""


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_no_arrow_points_up(path: Path) -> None:
    own = relative(path).split("/")[0].removesuffix(".py")
    if own == "__init__":
        return
    assert own in ORDER, f"{own} has no place in the order of the house yet"
    for module in imports(path):
        if module.split(".")[0] == "ulmfit" and room(module):
            assert ORDER.index(room(module)) <= ORDER.index(own), (
                f"{relative(path)} imports {module}"
            )


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_heavy_libraries_stay_in_their_rooms(path: Path) -> None:
    for module in imports(path):
        allowed = HEAVY.get(module.split(".")[0], ("",))
        assert relative(path).startswith(allowed), f"{relative(path)} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_no_pickle_and_no_star(path: Path) -> None:
    for module in imports(path):
        top, last = module.split(".")[0], module.split(".")[-1]
        assert last != "*", f"{relative(path)}: star import of {module}"
        is_pickle = top in (
            "pickle",
            "cPickle",
            "dill",
            "cloudpickle",
            "joblib",
            "shelve",
            "marshal",
        )
        assert not is_pickle, f"{relative(path)} imports {module}"


def test_no_cycle_inside_a_room() -> None:
    """Imports at the top of modules, taken transitively, never come back."""
    modules = {
        f"ulmfit.{relative(p)[:-3].replace('/', '.')}".removesuffix(".__init__"): p for p in FILES
    }
    arrows = {name: (top_imports(p) & modules.keys()) - {name} for name, p in modules.items()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"import cycle: {' -> '.join([*trail, name])}"
        if name not in done:
            for other in arrows[name]:
                visit(other, (*trail, name))
            done.add(name)

    for name in modules:
        visit(name, ())


def top_imports(path: Path) -> set[str]:
    """List the modules that are imported when the file is, with both readings of `from a import b`."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            submodules = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= submodules | ({node.module or ""} - {"ulmfit"})
    return found
