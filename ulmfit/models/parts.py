"""What the folder of any model is made of besides its manifest: vocabulary, text pipeline, tensors.

Each part is written into a folder that is still being made, and read back with a proof that it is the one
that was written.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from ulmfit import __version__
from ulmfit.config import TextConfig
from ulmfit.errors import UserError
from ulmfit.files import MANIFEST, fits, from_json, hash_file, read_json, write_json
from ulmfit.models.manifest import ModelManifest, to_json
from ulmfit.models.storage import pack, unpack
from ulmfit.text.corpus import SUBWORD_MODEL, Corpus
from ulmfit.text.tokenizers import build_tokenizer
from ulmfit.text.vocab import Vocab

if TYPE_CHECKING:
    from ulmfit.text.tokenizers import Tokenizer

WEIGHTS, VOCAB, CARD = "model.safetensors", "vocab.json", "README.md"
PIPELINE = "tokenizer/config.json"
_READING = ("tokenizer", "lang", "rules", "sp_type")  # what decides the tokens of a text
AGAIN = "copy the folder again, or repeat the command that made it (a training with --restart)"


@dataclass(frozen=True)
class TextPipeline:
    """How text becomes the tokens of the vocabulary."""

    config: TextConfig
    fingerprint: str
    """Of the tokenizer."""
    subword_model: Path | None = None
    n_fields: int | None = None
    """How many texts make a document; None where nobody noted it."""
    columns: tuple[str, ...] = ()
    """The columns that they stood in, where somebody noted them."""

    @classmethod
    def of(cls, corpus: Corpus) -> TextPipeline:
        """Take over the pipeline that made a corpus."""
        model = corpus.folder / SUBWORD_MODEL
        found = corpus.manifest.tokenizer_fingerprint
        n_fields, columns = corpus.manifest.n_fields, corpus.manifest.text_columns
        return cls(corpus.config, found, model if model.exists() else None, n_fields, columns)

    @classmethod
    def build(cls, config: TextConfig) -> TextPipeline:
        """Build the pipeline that a configuration describes."""
        model = Path(config.sp_model) if config.sp_model else None
        return cls(replace(config, sp_model=None), build_tokenizer(config).fingerprint, model)

    def reading(self, asked: TextConfig) -> TextConfig:
        """Let a corpus be read as this pipeline reads: its tokenizer and rules are taken over, all else is as asked."""
        taken = {name: getattr(self.config, name) for name in _READING}
        return replace(asked, **taken, sp_model=str(self.subword_model or "") or None)

    def reads(self, corpus: Corpus) -> bool:
        """Tell whether a corpus has tokens of this kind: the same pieces, or words of any vocabulary."""
        kinds = {self.config.tokenizer, corpus.config.tokenizer}
        if kinds == {"subword"}:
            return self.fingerprint == corpus.manifest.tokenizer_fingerprint
        return len(kinds) == 1

    def tokenizer(self, folder: Path, versions: Mapping[str, str]) -> Tokenizer:
        """Build the tokenizer of a model in `folder`, and refuse one that has changed since `versions`."""
        model = str(self.subword_model) if self.subword_model else None
        tokenizer = build_tokenizer(replace(self.config, sp_model=model))
        if tokenizer.fingerprint != self.fingerprint:
            then = ", ".join(f"{name} {number}" for name, number in versions.items())
            raise UserError(
                f"{folder} was made with another tokenizer than this installation has: install {then}"
            )
        return tokenizer


def save_text(folder: Path, vocab: Vocab, text: TextPipeline) -> None:
    """Write the vocabulary and how text becomes its tokens."""
    vocab.save(folder / VOCAB)
    (folder / PIPELINE).parent.mkdir()
    content = {
        "config": to_json(text.config),
        "fingerprint": text.fingerprint,
        "n_fields": text.n_fields,
        "columns": list(text.columns),
    }
    write_json(folder / PIPELINE, content)
    if text.subword_model:
        shutil.copyfile(text.subword_model, folder / SUBWORD_MODEL)


def load_vocab(folder: Path, manifest: ModelManifest) -> Vocab:
    """Read the vocabulary, which has to be that of the weights."""
    vocab = Vocab.load(folder / VOCAB)
    if vocab.fingerprint != manifest.fingerprints.vocab:
        raise UserError(
            f"{folder / VOCAB} ({len(vocab):,} tokens) is not the vocabulary of these weights "
            f"({manifest.n_vocab:,} tokens): {AGAIN}"
        )
    return vocab


def load_text(folder: Path, manifest: ModelManifest) -> TextPipeline:
    """Read how text becomes tokens."""
    path = folder / PIPELINE
    content = read_json(path)
    try:
        config = from_json(TextConfig, content["config"])
        found, n_fields = content["fingerprint"], content.get("n_fields")
        if n_fields is not None and (type(n_fields) is not int or n_fields < 1):
            raise TypeError(f"n_fields is {n_fields!r}")
        columns = content.get("columns", [])
        if not fits(columns, tuple[str, ...]):
            raise TypeError(f"columns is {columns!r}")
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} does not describe a text pipeline ({error}): {AGAIN}") from error
    model = folder / SUBWORD_MODEL
    expected = manifest.files.get(SUBWORD_MODEL)
    if expected and not model.is_file():
        raise UserError(f"{model} is missing: {AGAIN}")
    if found != manifest.fingerprints.tokenizer or (expected and hash_file(model) != expected):
        raise UserError(f"{path.parent} is not the tokenizer of these weights: {AGAIN}")
    return TextPipeline(config, found, model if expected else None, n_fields, tuple(columns))


def save_tensors(path: Path, weights: Mapping[str, Tensor], *, storage: str = "fp32") -> None:
    """Write tensors, floating-point ones as `storage` says."""
    path.touch()
    mode = path.stat().st_mode  # the user's own; safetensors makes files for their owner alone
    save_file(pack(weights, storage=storage), path, metadata={"format": "pt"})
    path.chmod(mode)


def load_tensors(path: Path, manifest: ModelManifest) -> dict[str, Tensor]:
    """Read tensors from bytes that are the written ones."""
    content = read_written(path, manifest)
    try:
        return unpack(load(content))
    except (SafetensorError, ValueError, KeyError) as error:
        raise UserError(f"{path} is not a safetensors file ({error}): {AGAIN}") from error


def read_written(path: Path, manifest: ModelManifest) -> bytes:
    """Read a file whose hash the manifest knows."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}): {AGAIN}") from error
    found, expected = hashlib.sha256(content).hexdigest(), manifest.files.get(path.name, "")
    if found != expected:
        raise UserError(
            f"{path} was changed or cut off: its SHA-256 is {found[:12]}..., "
            f"{MANIFEST} says {expected[:12]}...: {AGAIN}"
        )
    return content


def hashes(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Hash those of the files that are there."""
    return {name: hash_file(folder / name) for name in names if (folder / name).exists()}


def versions() -> dict[str, str]:
    """List the libraries that weights, files and tokens depend on."""
    names = ("torch", "fastai", "safetensors", "spacy", "sentencepiece")
    return {"ulmfit": __version__} | {name: version(name) for name in names}
