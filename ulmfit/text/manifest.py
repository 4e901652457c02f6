"""What manifest.json says of a corpus: where it comes from, how it was made, and what must fit together."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

from ulmfit.config import SPLITS, TextConfig
from ulmfit.errors import UserError
from ulmfit.files import MANIFEST, from_json, read_json, write_json

FORMAT = 1
REPAIR = "prepare it again: ulmfit prepare SOURCE --out"


@dataclass(frozen=True)
class SplitSummary:
    """The size of a split, and how much of it the vocabulary does not know."""

    documents: int
    tokens: int
    unknown: int


@dataclass(frozen=True)
class CorpusManifest:
    """What manifest.json says of a corpus."""

    name: str
    key: str
    """Hash of the data, the configuration and the tokenizer: equal keys mean equal corpora."""
    config: TextConfig
    label_kind: str
    """none, category, multi or number."""
    label_names: tuple[str, ...]
    splits: dict[str, SplitSummary]
    vocab_fingerprint: str
    tokenizer_fingerprint: str
    versions: dict[str, str]
    notices: tuple[str, ...]
    files: dict[str, str] = field(default_factory=dict)
    """SHA-256 of each array; none in folders that were written before they were hashed."""
    n_fields: int | None = None
    """How many texts make a document; None if that differs, or was not noted yet."""
    text_columns: tuple[str, ...] = ()
    """The columns that they stood in; none if that differs, or was not noted yet."""
    kind: str = "corpus"
    format: int = FORMAT

    def save(self, folder: Path) -> None:
        """Write manifest.json."""
        write_json(folder / MANIFEST, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> CorpusManifest:
        """Read manifest.json, or say what it is instead."""
        path = folder / MANIFEST
        content = read_json(path)
        found = content.get("kind") if isinstance(content, dict) else None
        if found != "corpus":
            raise UserError(
                f"{folder} holds {f'a {found}' if found else 'no artefact'}, not a corpus"
            )
        if content.get("format") != FORMAT:
            raise UserError(
                f"{path} has format {content.get('format')!r}, this ulmfit reads {FORMAT}: {REPAIR} {folder}"
            )
        content = {
            "files": {},
            "n_fields": None,
            "text_columns": [],
        } | content  # what older folders lack
        try:
            content["config"] = from_json(TextConfig, content["config"])
            content["splits"] = {
                name: from_json(SplitSummary, split) for name, split in content["splits"].items()
            }
            if unknown := content["splits"].keys() - set(SPLITS):
                raise KeyError(f"splits {', '.join(map(repr, sorted(unknown)))}")
            return from_json(cls, content)
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{path} is not a corpus manifest ({error}): {REPAIR} {folder}"
            ) from error
