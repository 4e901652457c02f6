"""A language model's folder -> the same model in fewer bytes, to travel with a package or by mail."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from ulmfit.config import require
from ulmfit.files import MANIFEST, read_json
from ulmfit.models.artefact import LanguageModelParts, load_language_model, save_language_model
from ulmfit.models.pair import DIRECTIONS, load_language_model_pair, save_language_model_pair
from ulmfit.models.pair import KIND as PAIR
from ulmfit.models.parts import HISTORY
from ulmfit.models.storage import STORAGES


def compact(lm: str | Path, out: str | Path, *, storage: str = "int8") -> Path:
    """Write the folder of a language model, or of a pair, again with its weights stored as `storage`."""
    require(storage in STORAGES, "to", storage, ", ".join(STORAGES))
    lm, out = Path(lm), Path(out)
    manifest = read_json(lm / MANIFEST) if (lm / MANIFEST).is_file() else {}
    if manifest.get("kind") != PAIR:
        _one(load_language_model(lm), out, storage)
        return out
    pair = load_language_model_pair(lm)
    with TemporaryDirectory() as halves:
        folders = {name: Path(halves) / name for name in DIRECTIONS}
        for name, folder in folders.items():
            _one(getattr(pair, name), folder, storage)
        save_language_model_pair(out, **folders, settings=pair.manifest.config)
    return out


def _one(lm: LanguageModelParts, out: Path, storage: str) -> None:
    made = lm.manifest.provenance
    note = f"weights stored as {storage}"
    save_language_model(
        out,
        lm.weights,
        arch=lm.arch,
        vocab=lm.vocab,
        text=lm.text,
        provenance=replace(made, parent=lm.fingerprint, notes=(*made.notes, note)),
        history=_history(lm.folder / HISTORY),
        storage=storage,
    )


def _history(path: Path) -> list[dict[str, str]]:
    """Read the rows of a history as they are written; none where there is no file."""
    if not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
