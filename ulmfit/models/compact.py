"""A model's folder -> the same model in fewer bytes, to travel with a package or by mail."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ulmfit.config import require
from ulmfit.errors import UserError
from ulmfit.files import atomic_folder, kind_of
from ulmfit.history import HISTORY
from ulmfit.models.artefact import LanguageModelParts, load_language_model, save_language_model
from ulmfit.models.classifier_artefact import load_classifier
from ulmfit.models.classifier_manifest import KIND as CLASSIFIER
from ulmfit.models.classifier_manifest import classifier_card
from ulmfit.models.manifest import Provenance, require_no_stage
from ulmfit.models.pair import DIRECTIONS, load_language_model_pair, save_language_model_pair
from ulmfit.models.pair import KIND as PAIR
from ulmfit.models.parts import CARD, hashes, save_tensors
from ulmfit.models.storage import STORAGES


def compact(model: str | Path, out: str | Path, *, storage: str = "int8") -> Path:
    """Write the folder of a language model, a pair or a classifier again with its weights stored as `storage`."""
    require(storage in STORAGES, "to", storage, ", ".join(STORAGES))
    model, out = Path(model), Path(out)
    if out.resolve().is_relative_to(model.resolve()):
        raise UserError(f"{out} is or lies in the model that is read: choose another folder")
    require_no_stage(out)
    if (kind := kind_of(model)) == CLASSIFIER:
        _classifier(model, out, storage)
        return out
    if kind != PAIR:
        _one(load_language_model(model), out, storage)
        return out
    pair = load_language_model_pair(model)
    with TemporaryDirectory() as halves:
        folders = {name: Path(halves) / name for name in DIRECTIONS}
        for name, folder in folders.items():
            _one(getattr(pair, name), folder, storage)
        save_language_model_pair(out, **folders, settings=_without_stage(pair.manifest.config))
    return out


def _classifier(folder: Path, out: Path, storage: str) -> None:
    """Write both directions' weights again; all else in the folder stays as it is."""
    parts = load_classifier(folder)
    names = parts.manifest.weight_files()
    with atomic_folder(out, kind=CLASSIFIER) as part:
        shutil.copytree(folder, part, dirs_exist_ok=True)
        for direction, name in names.items():
            save_tensors(part / name, parts.weights[direction], storage=storage)
        manifest = replace(
            parts.manifest,
            provenance=_noted(parts.manifest.provenance, storage),
            files={**parts.manifest.files, **hashes(part, tuple(names.values()))},
        )
        (part / CARD).write_text(classifier_card(manifest, parts.labels), encoding="utf-8")
        manifest.save(part)


def _noted(made: Provenance, storage: str) -> Provenance:
    note = f"weights stored as {storage}"
    return replace(made, config=_without_stage(made.config), notes=(*made.notes, note))


def _without_stage(config: Mapping[str, Any]) -> dict[str, Any]:
    """Copy the settings of a stage: no stage is to take this folder for what it has made."""
    return {name: value for name, value in config.items() if name != "stage"}


def _one(lm: LanguageModelParts, out: Path, storage: str) -> None:
    made, history = _noted(lm.manifest.provenance, storage), lm.folder / HISTORY
    save_language_model(
        out,
        lm.weights,
        arch=lm.arch,
        vocab=lm.vocab,
        text=lm.text,
        provenance=replace(made, parent=lm.fingerprint),
        files={HISTORY: history.read_bytes()} if history.is_file() else None,
        storage=storage,
    )
