"""A forward and a backward language model as one folder, which proves that it holds the two that were put into it.

In: two finished folders. Out: OUT/forward, OUT/backward and a manifest with the fingerprints of both; read
back as `LanguageModelPairParts`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ulmfit.errors import UserError
from ulmfit.files import MANIFEST, atomic_folder, from_json, write_json
from ulmfit.models.artefact import LanguageModelParts, load_language_model
from ulmfit.models.manifest import read_manifest
from ulmfit.models.parts import AGAIN, CARD

KIND = "language_model_pair"
DIRECTIONS = ("forward", "backward")
_INSTEAD = {"language_model": "it has one direction; train with --direction both for a pair"}


@dataclass(frozen=True)
class PairFingerprints:
    """Hashes of all that the two models' manifests say."""

    forward: str
    backward: str


@dataclass(frozen=True)
class PairManifest:
    """manifest.json of a pair."""

    fingerprints: PairFingerprints
    config: Mapping[str, Any] = field(default_factory=dict)
    """The settings that made both, as JSON."""
    kind: str = KIND
    format: int = 1

    @classmethod
    def load(cls, folder: Path) -> PairManifest:
        """Read manifest.json, or say what it is instead."""
        content = read_manifest(folder, kind=KIND, instead=_INSTEAD)
        try:
            prints = from_json(PairFingerprints, content["fingerprints"])
            return from_json(cls, content | {"fingerprints": prints})
        except (KeyError, TypeError) as error:
            raise UserError(
                f"{folder / MANIFEST} is not the manifest of a pair ({error}): {AGAIN}"
            ) from error


@dataclass(frozen=True, eq=False)
class LanguageModelPairParts:
    """What a pair's folder holds."""

    folder: Path
    manifest: PairManifest
    forward: LanguageModelParts
    backward: LanguageModelParts


def save_language_model_pair(
    out: str | Path,
    *,
    forward: str | Path,
    backward: str | Path,
    settings: Mapping[str, Any],
) -> LanguageModelPairParts:
    """Move two finished folders into one, whole or not at all, and return it loaded.

    They are checked first, and stay where they are if the pair cannot be written.
    """
    sources = dict(zip(DIRECTIONS, (Path(forward), Path(backward))))
    both = {name: load_language_model(source) for name, source in sources.items()}
    _require_pair(both["forward"], both["backward"])
    prints = PairFingerprints(*(both[name].fingerprint for name in DIRECTIONS))
    with atomic_folder(out, kind=KIND) as folder:
        for name, source in sources.items():
            _link_or_copy(source, folder / name)
        (folder / CARD).write_text(_card(both), encoding="utf-8")
        write_json(folder / MANIFEST, asdict(PairManifest(prints, dict(settings))))
    for source in sources.values():
        shutil.rmtree(source, ignore_errors=True)
    return load_language_model_pair(out)


def load_language_model_pair(folder: str | Path) -> LanguageModelPairParts:
    """Read a pair's folder, proving that its models are the two that were put into it."""
    folder = Path(folder)
    manifest = PairManifest.load(folder)
    for name in DIRECTIONS:
        if not (folder / name).is_dir():
            raise UserError(f"{folder / name} is missing: {AGAIN}")
    forward, backward = (load_language_model(folder / name) for name in DIRECTIONS)
    _require_pair(forward, backward)
    for lm, expected in (
        (forward, manifest.fingerprints.forward),
        (backward, manifest.fingerprints.backward),
    ):
        if lm.fingerprint != expected:
            raise UserError(f"{lm.folder} is not the model that this pair was made of: {AGAIN}")
    return LanguageModelPairParts(folder, manifest, forward, backward)


def _card(both: Mapping[str, LanguageModelParts]) -> str:
    """Say in a few lines what this pair is; each model has a card of its own."""
    lines = [
        f"- [{name}/]({name}/README.md): {lm.manifest.provenance.origin}, protocol {lm.manifest.provenance.protocol or 'unknown'}, "
        + ", ".join(f"{key} {value:g}" for key, value in lm.manifest.provenance.metrics.items())
        for name, lm in both.items()
    ]
    head = "# language models of both directions\n\nLoad them with `ulmfit.load(FOLDER)`.\n\n"
    return head + "\n".join(lines) + "\n"


def _require_pair(forward: LanguageModelParts, backward: LanguageModelParts) -> None:
    """Refuse two models that do not read the same tokens from both ends."""
    for lm, expected in zip((forward, backward), DIRECTIONS):
        found = lm.manifest.provenance.direction
        if found != expected:
            raise UserError(
                f"{lm.folder} is a {found} language model, where a pair has its {expected} one: {AGAIN}"
            )
    names = ("vocabularies", "tokenizers")
    prints = [(lm.vocab.fingerprint, lm.text.fingerprint) for lm in (forward, backward)]
    for name, ours, theirs in zip(names, *prints):
        if ours != theirs:
            raise UserError(
                f"the {name} of {forward.folder} and {backward.folder} differ: train both on the same corpus"
            )


def _link_or_copy(source: Path, target: Path) -> None:
    """Make a second folder of the same files, without their bytes where the disk can."""

    def put(file: str, copy: str) -> None:
        try:
            os.link(file, copy)
        except OSError:  # this file system has no links
            shutil.copyfile(file, copy)

    shutil.copytree(source, target, copy_function=put)
