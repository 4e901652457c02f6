"""What the manifest.json of a language model says, as frozen values that read and write themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ulmfit.errors import UserError
from ulmfit.files import MANIFEST, fingerprint, from_json, read_json, write_json
from ulmfit.models.arch import ArchConfig
from ulmfit.models.weights import ARCH_FACTS
from ulmfit.text.lm_stream import is_backward

FORMAT = 1
KIND = "language_model"
_INSTEAD = {
    "classifier": "give the folder of the language model that it was made from",
    "corpus": "train one on it with `ulmfit pretrain-lm CORPUS --out LM`",
}


@dataclass(frozen=True)
class Provenance:
    """Where weights come from, and how good they are."""

    origin: str
    """In words: the corpus, the file or the published model."""
    direction: str = "forward"
    """forward, or backward: each document read from its end."""
    seed: int | None = None
    protocol: str = ""
    """clean, transductive or as_published; empty where the training is not known."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    """The configuration of the stage that made the weights, as JSON."""
    parent: str = ""
    """Fingerprint of the artefact that these weights began from."""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        is_backward(self.direction)


@dataclass(frozen=True)
class Fingerprints:
    """Hashes by content of what has to stay together."""

    vocab: str
    tokenizer: str
    architecture: str
    parent: str


@dataclass(frozen=True)
class LanguageModelManifest:
    """manifest.json of a language model. The provenance's fields stand at its top level."""

    arch: ArchConfig
    n_vocab: int
    provenance: Provenance
    fingerprints: Fingerprints
    files: Mapping[str, str]
    """SHA-256 of the binary files."""
    versions: Mapping[str, str]
    kind: str = KIND
    format: int = FORMAT

    def save(self, folder: Path) -> None:
        """Write manifest.json."""
        write_json(folder / MANIFEST, to_json(self))

    @classmethod
    def load(cls, folder: Path) -> LanguageModelManifest:
        """Read manifest.json, or say what it is instead."""
        path = folder / MANIFEST
        if not folder.is_dir():
            raise UserError(f"{folder} is not a folder: give the folder of a language model")
        content = read_json(path)
        kind = content.get("kind") if isinstance(content, dict) else None
        if kind != KIND:
            instead = _INSTEAD.get(str(kind), "give the folder of a language model")
            raise UserError(
                f"{folder} holds {f'a {kind}' if kind else 'no artefact'}, not a language model: {instead}"
            )
        if content.get("format") != FORMAT:
            raise UserError(
                f"{path} has format {content.get('format')!r} and this ulmfit reads {FORMAT}: install the ulmfit that wrote it"
            )
        try:
            own = {f.name: content.pop(f.name) for f in fields(Provenance)}
            content["provenance"] = from_json(Provenance, own)
            content["arch"] = from_json(ArchConfig, content["arch"])
            content["fingerprints"] = from_json(Fingerprints, content["fingerprints"])
            if not isinstance(content["n_vocab"], int) or not isinstance(content["files"], dict):
                raise TypeError("n_vocab or files")
            return from_json(cls, content)
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{path} is not the manifest of a language model ({error}): copy the folder again"
            ) from error


def arch_fingerprint(arch: ArchConfig) -> str:
    """Hash what tensors depend on of an architecture; dropouts may change from stage to stage."""
    return fingerprint({name: getattr(arch, name) for name in ARCH_FACTS})


def to_json(value: Any) -> dict[str, Any]:
    """Turn a dataclass into JSON; a manifest's provenance is laid open in it."""
    content = asdict(value)
    return content | content.pop("provenance", {})
