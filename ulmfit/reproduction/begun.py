"""How far a training has come that was interrupted: what it left beside its folder says so."""

from __future__ import annotations

from pathlib import Path

from ulmfit.files import MANIFEST
from ulmfit.models.pair import DIRECTIONS
from ulmfit.training.checkpoint import load_facts
from ulmfit.training.run import Run


def directions_of(out: Path) -> list[Path]:
    """Name the folders of the two directions of a training whose result will be `out`."""
    return [Run(out, {}).folder / direction for direction in DIRECTIONS]


def share_done(out: Path, *, n_batches: int, n_epochs: float) -> float:
    """Tell how much of one direction is learnt, from 0 to 1."""
    if (out / MANIFEST).is_file():
        return 1.0
    match load_facts(Run(out, {}).checkpoint):
        case {"epoch": int(epoch), "batch": int(batch)}:
            return min(1.0, (epoch + batch / max(1, n_batches)) / n_epochs)
    return 0.0
