"""What the manifest.json of a model says, as frozen values that read and write themselves: a language model's, and what a classifier's shares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from ulmfit.errors import UserError
from ulmfit.files import MANIFEST, fingerprint, from_json, read_json, write_json
from ulmfit.models.arch import ArchConfig
from ulmfit.models.weights import ARCH_FACTS
from ulmfit.text.lm_stream import is_backward

FORMAT = 1
KIND = "language_model"
BOTH = "both"  # the direction of what holds a forward and a backward model
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
    """forward, backward (each document read from its end), or both: a model of each."""
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
        if self.direction != BOTH:
            is_backward(self.direction)

    @property
    def directions(self) -> tuple[str, ...]:
        """The directions of the models that this is about."""
        return ("forward", "backward") if self.direction == BOTH else (self.direction,)


@dataclass(frozen=True)
class Fingerprints:
    """Hashes by content of what has to stay together."""

    vocab: str
    tokenizer: str
    architecture: str
    parent: str


class ModelManifest(Protocol):
    """What the parts of any model's folder are held against."""

    @property
    def n_vocab(self) -> int:
        """Entries of the vocabulary."""
        ...

    @property
    def fingerprints(self) -> Fingerprints:
        """What has to stay together."""
        ...

    @property
    def files(self) -> Mapping[str, str]:
        """SHA-256 of files by name."""
        ...


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
        content = read_manifest(folder, kind=KIND, instead=_INSTEAD)
        return parse_manifest(cls, content, partial(from_json, ArchConfig), folder=folder)


def read_manifest(folder: Path, *, kind: str, instead: Mapping[str, str]) -> dict[str, Any]:
    """Read the JSON of a manifest of this kind; `instead` says what to do with a folder of another."""
    path, noun = folder / MANIFEST, kind.replace("_", " ")
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: give the folder of a {noun}")
    content = read_json(path)
    found = content.get("kind") if isinstance(content, dict) else None
    if found != kind:
        advice = instead.get(str(found), f"give the folder of a {noun}")
        raise UserError(
            f"{folder} holds {f'a {found}' if found else 'no artefact'}, not a {noun}: {advice}"
        )
    if content.get("format") != FORMAT:
        raise UserError(
            f"{path} has format {content.get('format')!r} and this ulmfit reads {FORMAT}: install the ulmfit that wrote it"
        )
    return content


def parse_manifest(
    kind: Any, content: dict[str, Any], read_arch: Callable[[Any], Any], *, folder: Path
) -> Any:
    """Build the manifest, a dataclass `kind`, from its JSON."""
    try:
        own = {f.name: content.pop(f.name) for f in fields(Provenance)}
        content["provenance"] = from_json(Provenance, own)
        content["arch"] = read_arch(content["arch"])
        content["fingerprints"] = from_json(Fingerprints, content["fingerprints"])
        if not isinstance(content["n_vocab"], int) or not isinstance(content["files"], dict):
            raise TypeError("n_vocab or files")
        return from_json(kind, content)
    except (KeyError, TypeError, AttributeError) as error:
        noun = content["kind"].replace("_", " ")
        raise UserError(
            f"{folder / MANIFEST} is not the manifest of a {noun} ({error}): copy the folder again"
        ) from error


def arch_fingerprint(arch: ArchConfig) -> str:
    """Hash what tensors depend on of an architecture; dropouts may change from stage to stage."""
    return fingerprint({name: getattr(arch, name) for name in ARCH_FACTS})


def to_json(value: Any) -> dict[str, Any]:
    """Turn a dataclass into JSON; a manifest's provenance is laid open in it."""
    content = asdict(value)
    return content | content.pop("provenance", {})


def require_no_stage(out: str | Path) -> None:
    """Refuse to replace what a stage has made: it may be days of training."""
    manifest = Path(out) / MANIFEST
    content = read_json(manifest) if manifest.is_file() else None
    config = content.get("config") if isinstance(content, dict) else None
    if isinstance(config, dict) and "stage" in config:
        raise UserError(f"{out} is what {config['stage']} made: choose another folder")
