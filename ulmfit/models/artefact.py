"""A language model on disk: a folder of JSON and safetensors that proves, when loaded, that its parts belong together.

In: weights, vocabulary, text pipeline and provenance. Out: a folder, or the parts again as `LanguageModelParts`.
"""

from __future__ import annotations

import csv
import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from ulmfit.config import TextConfig
from ulmfit.errors import UserError
from ulmfit.files import (
    MANIFEST,
    atomic_folder,
    fingerprint,
    from_json,
    hash_file,
    read_json,
    write_json,
)
from ulmfit.models.arch import ArchConfig
from ulmfit.models.language_model import LanguageModel
from ulmfit.models.manifest import (
    KIND,
    Fingerprints,
    LanguageModelManifest,
    Provenance,
    arch_fingerprint,
    to_json,
)
from ulmfit.models.weights import require_fit
from ulmfit.text.corpus import SUBWORD_MODEL, Corpus
from ulmfit.text.tokenizers import build_tokenizer
from ulmfit.text.vocab import Vocab

if TYPE_CHECKING:
    from ulmfit.models.precision import Precision
    from ulmfit.text.tokenizers import Tokenizer

WEIGHTS, VOCAB, HISTORY, CARD = "model.safetensors", "vocab.json", "history.csv", "README.md"
PIPELINE = "tokenizer/config.json"
_AGAIN = "copy the folder again, or repeat the command that made it"


@dataclass(frozen=True)
class TextPipeline:
    """How text becomes the tokens of the vocabulary."""

    config: TextConfig
    fingerprint: str
    """Of the tokenizer."""
    subword_model: Path | None = None

    @classmethod
    def of(cls, corpus: Corpus) -> TextPipeline:
        """Take over the pipeline that made a corpus."""
        model = corpus.folder / SUBWORD_MODEL
        found = corpus.manifest.tokenizer_fingerprint
        return cls(corpus.config, found, model if model.exists() else None)

    @classmethod
    def build(cls, config: TextConfig) -> TextPipeline:
        """Build the pipeline that a configuration describes."""
        model = Path(config.sp_model) if config.sp_model else None
        return cls(replace(config, sp_model=None), build_tokenizer(config).fingerprint, model)


@dataclass(frozen=True, eq=False)
class LanguageModelParts:
    """What a language model's folder holds."""

    folder: Path
    manifest: LanguageModelManifest
    vocab: Vocab
    text: TextPipeline
    weights: dict[str, Tensor]

    @property
    def arch(self) -> ArchConfig:
        """The architecture of the weights."""
        return self.manifest.arch

    @property
    def fingerprint(self) -> str:
        """A hash of all that the manifest says: what a child names as its parent."""
        return fingerprint(to_json(self.manifest))

    def model(self, *, precision: Precision = "auto") -> LanguageModel:
        """Build the module with these weights, in evaluation mode."""
        model = LanguageModel(self.arch, len(self.vocab), precision=precision)
        model.load_state_dict(self.weights)
        return model.eval()

    def tokenizer(self) -> Tokenizer:
        """Build the tokenizer, and refuse one that has changed since."""
        model = self.text.subword_model
        tokenizer = build_tokenizer(
            replace(self.text.config, sp_model=str(model) if model else None)
        )
        if tokenizer.fingerprint != self.text.fingerprint:
            then = ", ".join(f"{name} {v}" for name, v in self.manifest.versions.items())
            raise UserError(
                f"{self.folder} was made with another tokenizer than this installation has: install {then}"
            )
        return tokenizer


def save_language_model(
    out: str | Path,
    weights: Mapping[str, Tensor],
    *,
    arch: ArchConfig,
    vocab: Vocab,
    text: TextPipeline,
    provenance: Provenance,
    history: Sequence[Mapping[str, Any]] = (),
) -> LanguageModelParts:
    """Write a language model's folder, whole or not at all, and return it loaded."""
    require_fit(weights, arch, n_vocab=len(vocab), where=f"the weights for {out}")
    with atomic_folder(out, kind=KIND) as folder:
        # A model that is being trained may hold views; the file wants plain tensors.
        plain = {n: t.detach().to("cpu", torch.float32).contiguous() for n, t in weights.items()}
        save_file(plain, folder / WEIGHTS, metadata={"format": "pt"})
        vocab.save(folder / VOCAB)
        (folder / PIPELINE).parent.mkdir()
        write_json(
            folder / PIPELINE, {"config": to_json(text.config), "fingerprint": text.fingerprint}
        )
        if text.subword_model:
            shutil.copyfile(text.subword_model, folder / SUBWORD_MODEL)
        if history:
            _write_history(folder / HISTORY, history)
        manifest = LanguageModelManifest(
            arch=arch,
            n_vocab=len(vocab),
            provenance=provenance,
            fingerprints=Fingerprints(
                vocab=vocab.fingerprint,
                tokenizer=text.fingerprint,
                architecture=arch_fingerprint(arch),
                parent=provenance.parent,
            ),
            files=_hashes(folder),
            versions={name: version(name) for name in ("torch", "safetensors", "spacy")},
        )
        (folder / CARD).write_text(_card(manifest, plain), encoding="utf-8")
        manifest.save(folder)
    return load_language_model(out)


def load_language_model(folder: str | Path) -> LanguageModelParts:
    """Read a language model's folder, proving that its parts belong together."""
    folder = Path(folder)
    manifest = LanguageModelManifest.load(folder)
    vocab = Vocab.load(folder / VOCAB)
    if vocab.fingerprint != manifest.fingerprints.vocab:
        raise UserError(
            f"{folder / VOCAB} ({len(vocab):,} tokens) is not the vocabulary of these weights "
            f"({manifest.n_vocab:,} tokens): {_AGAIN}"
        )
    if manifest.fingerprints.architecture != arch_fingerprint(manifest.arch):
        raise UserError(f"{folder / MANIFEST}: the architecture was changed by hand: {_AGAIN}")
    text = _load_pipeline(folder, manifest)
    weights = _load_weights(folder / WEIGHTS, manifest.files.get(WEIGHTS, ""))
    require_fit(weights, manifest.arch, n_vocab=len(vocab), where=str(folder / WEIGHTS))
    return LanguageModelParts(folder, manifest, vocab, text, weights)


def require_same_vocab(lm: LanguageModelParts, corpus: Corpus) -> None:
    """Refuse a language model and a corpus whose vocabularies differ in content, whatever their sizes."""
    ours, theirs = lm.vocab, corpus.vocab
    if ours == theirs:
        return
    at = [i for i, (one, other) in enumerate(zip(ours, theirs, strict=False)) if one != other]
    n_wrong = len(at) + abs(len(ours) - len(theirs))
    first = ", ".join(f"id {i} is {ours[i]!r} and {theirs[i]!r}" for i in at[:3])
    shared = len(set(ours) & set(theirs))
    raise UserError(
        f"the vocabularies of the language model {lm.folder} ({len(ours):,} tokens, from {lm.manifest.provenance.origin}) "
        f"and of the corpus {corpus.folder} ({len(theirs):,} tokens, from {corpus.manifest.name}) differ at {n_wrong:,} ids"
        f"{': ' + first if first else ''}; {shared:,} tokens are in both; carry the weights over to the corpus with "
        f"`ulmfit finetune-lm {lm.folder} {corpus.folder} --out OUT`, and give OUT to the classifier with this same corpus"
    )


def _load_pipeline(folder: Path, manifest: LanguageModelManifest) -> TextPipeline:
    """Read how text becomes tokens."""
    path = folder / PIPELINE
    content = read_json(path)
    try:
        config = from_json(TextConfig, content["config"])
        found = content["fingerprint"]
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} does not describe a text pipeline ({error}): {_AGAIN}") from error
    model = folder / SUBWORD_MODEL
    expected = manifest.files.get(SUBWORD_MODEL)
    if expected and not model.is_file():
        raise UserError(f"{model} is missing: {_AGAIN}")
    if found != manifest.fingerprints.tokenizer or (expected and hash_file(model) != expected):
        raise UserError(f"{path.parent} is not the tokenizer of these weights: {_AGAIN}")
    return TextPipeline(config, found, model if expected else None)


def _load_weights(path: Path, sha256: str) -> dict[str, Tensor]:
    """Read the tensors from bytes that are the written ones."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}): {_AGAIN}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise UserError(
            f"{path} was changed or cut off: its SHA-256 is {found[:12]}..., "
            f"{MANIFEST} says {sha256[:12]}...: {_AGAIN}"
        )
    try:
        return load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise UserError(f"{path} is not a safetensors file ({error}): {_AGAIN}") from error


def _hashes(folder: Path) -> dict[str, str]:
    """Hash the files that are not compared by content."""
    names = [name for name in (WEIGHTS, SUBWORD_MODEL) if (folder / name).exists()]
    return {name: hash_file(folder / name) for name in names}


def _write_history(path: Path, history: Sequence[Mapping[str, Any]]) -> None:
    """Write one row per epoch."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in history for name in row)))
        writer.writeheader()
        writer.writerows(history)


def _card(manifest: LanguageModelManifest, weights: Mapping[str, Tensor]) -> str:
    """Say in a few lines what this model is."""
    arch, made = manifest.arch, manifest.provenance
    size = sum(tensor.numel() for tensor in weights.values())
    metrics = ", ".join(f"{name} {value:g}" for name, value in made.metrics.items())
    facts = {
        "Origin": made.origin,
        "Architecture": f"{arch.backbone}, {arch.n_layers} layers of {arch.n_hid}, embedding {arch.emb_sz}",
        "Parameters": f"{size:,}",
        "Vocabulary": f"{manifest.n_vocab:,} tokens",
        "Direction": made.direction,
        "Protocol": made.protocol,
        "Seed": made.seed,
        "Metrics": metrics,
        "Notes": "; ".join(made.notes),
    }
    lines = [f"- {name}: {fact}" for name, fact in facts.items() if fact not in ("", None)]
    head = f"# {made.direction} language model\n\nLoad it with `ulmfit.load(FOLDER)`.\n\n"
    return head + "\n".join(lines) + "\n"
