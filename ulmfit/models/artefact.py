"""A language model on disk: a folder of JSON and safetensors that proves, when loaded, that its parts belong together.

In: weights, vocabulary, text pipeline and provenance. Out: a folder, or the parts again as `LanguageModelParts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ulmfit.errors import UserError
from ulmfit.files import MANIFEST, atomic_folder, fingerprint
from ulmfit.models.arch import ArchConfig
from ulmfit.models.catalogue import is_packaged
from ulmfit.models.language_model import LanguageModel
from ulmfit.models.manifest import (
    KIND,
    Fingerprints,
    LanguageModelManifest,
    Provenance,
    arch_fingerprint,
    to_json,
)
from ulmfit.models.parts import (
    AGAIN,
    CARD,
    WEIGHTS,
    TextPipeline,
    hashes,
    load_tensors,
    load_text,
    load_vocab,
    save_tensors,
    save_text,
    versions,
)
from ulmfit.models.precision import Precision
from ulmfit.models.transplant import Transplanted, transplant
from ulmfit.models.weights import require_fit
from ulmfit.text.corpus import SUBWORD_MODEL, Corpus
from ulmfit.text.tokenizers import Tokenizer
from ulmfit.text.vocab import Vocab


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
        """Build the module with these weights, in evaluation mode, not to be trained."""
        with torch.device("meta"):
            model = LanguageModel(self.arch, len(self.vocab), precision=precision)
        model.load_state_dict(self.weights, assign=True)
        # Weights that cannot change are prepared for the fast paths once, not at each use.
        return model.requires_grad_(False).eval()

    def tokenizer(self) -> Tokenizer:
        """Build the tokenizer, and refuse one that has changed since."""
        return self.text.tokenizer(self.folder, self.manifest.versions)


def save_language_model(
    out: str | Path,
    weights: Mapping[str, Tensor],
    *,
    arch: ArchConfig,
    vocab: Vocab,
    text: TextPipeline,
    provenance: Provenance,
    files: Mapping[str, bytes] | None = None,
    storage: str = "fp32",
) -> LanguageModelParts:
    """Write a language model's folder, whole or not at all, and return it loaded.

    `files` are more to lie in it, by name, such as a picture of the training. `storage` is one of
    `models.storage.STORAGES`.
    """
    require_fit(weights, arch, n_vocab=len(vocab), where=f"the weights for {out}")
    with atomic_folder(out, kind=KIND) as folder:
        for name, content in (files or {}).items():  # first: no name can replace a part
            (folder / name).write_bytes(content)
        save_tensors(folder / WEIGHTS, weights, storage=storage)
        save_text(folder, vocab, text)
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
            files=hashes(folder, (WEIGHTS, SUBWORD_MODEL)),
            versions=versions(),
        )
        (folder / CARD).write_text(_card(manifest, weights), encoding="utf-8")
        manifest.save(folder)
    return load_language_model(out)


def load_language_model(folder: str | Path) -> LanguageModelParts:
    """Read a language model's folder, proving that its parts belong together."""
    folder = Path(folder)
    manifest = LanguageModelManifest.load(folder)
    vocab = load_vocab(folder, manifest)
    if manifest.fingerprints.architecture != arch_fingerprint(manifest.arch):
        raise UserError(f"{folder / MANIFEST}: the architecture was changed by hand: {AGAIN}")
    text = load_text(folder, manifest)
    weights = load_tensors(folder / WEIGHTS, manifest)
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


def carried_to(corpus: Corpus, lm: LanguageModelParts) -> Transplanted:
    """Carry a language model's weights over to the vocabulary of a corpus, whose tokens have to be of the same kind."""
    if not lm.text.reads(corpus):
        ours, theirs = (text.tokenizer for text in (lm.text.config, corpus.config))
        unlike = "other pieces" if ours == theirs else f"the tokenizer {theirs!r}"
        both = lm.folder.parent  # of a pair that has a name, such as en
        name = both.name if is_packaged(both) else lm.folder
        raise UserError(
            f"{corpus.folder} was read with {unlike}, and the language model {name} reads with {ours!r}: "
            f"prepare it as the model reads, with `ulmfit prepare SOURCE --lm {name} --out CORPUS`"
        )
    return transplant(lm.weights, lm.vocab, corpus.vocab)


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
