"""A run folder -> what is in it: each artefact with its metrics, and each training that was interrupted.

In: the folder of `fit` or `reproduce`. Out: a `RunFolder`, which shows itself in a terminal and in a notebook.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ulmfit.files import MANIFEST, read_json
from ulmfit.history import HISTORY, read_history
from ulmfit.markup import table

UNFINISHED = ".training"  # what follows the name of an artefact while its stage trains
_DEEPEST = 4  # seed0/full-discr/labels-100/3_train_classifier


@dataclass(frozen=True)
class Step:
    """One artefact, or the training that will make it."""

    place: str
    """Its folder below that of the run."""
    state: str
    """What the artefact is, such as corpus, or how far the training is."""
    metrics: Mapping[str, float]

    def figures(self) -> str:
        """Write the metrics in one line."""
        return ", ".join(f"{name} {value:.4g}" for name, value in self.metrics.items())


@dataclass(frozen=True)
class RunFolder:
    """All steps of a run, in the order of their folders."""

    folder: Path
    steps: tuple[Step, ...]

    @classmethod
    def look(cls, folder: str | Path) -> RunFolder:
        """Find the steps below a folder; there are none in what is no run."""
        return cls(Path(folder), tuple(_steps(Path(folder), Path(folder))))

    def __str__(self) -> str:
        wide = max((len(step.place) for step in self.steps), default=0)
        lines = [f"{step.place:<{wide}}  {step.state}  {step.figures()}" for step in self.steps]
        return "\n  ".join([f"run {self.folder}", *map(str.rstrip, lines)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = ((step.place, step.state, step.figures()) for step in self.steps)
        return table(("folder", "what it is", "figures"), rows, caption=f"run {self.folder}")


def _steps(folder: Path, run: Path, *, depth: int = 1) -> Iterator[Step]:
    """List what lies in a folder; an artefact is taken as a whole."""
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if not path.is_dir() or path.is_symlink() or path.name.startswith("."):
            continue
        place = path.relative_to(run).as_posix()
        if path.name.endswith(UNFINISHED):
            n_epochs = len(read_history(path / HISTORY)) if (path / HISTORY).is_file() else 0
            yield Step(place.removesuffix(UNFINISHED), f"interrupted, {n_epochs} epochs done", {})
        elif (path / MANIFEST).is_file():
            content = read_json(path / MANIFEST)
            yield Step(place, _kind(content), _metrics(content))
        elif depth < _DEEPEST:
            yield from _steps(path, run, depth=depth + 1)


def _kind(content: Any) -> str:
    kind = content.get("kind") if isinstance(content, dict) else None
    return str(kind or "unknown").replace("_", " ")


def _metrics(content: Any) -> dict[str, float]:
    found = content.get("metrics") if isinstance(content, dict) else None
    found = found if isinstance(found, dict) else {}
    return {name: value for name, value in found.items() if isinstance(value, (int, float))}
