"""A classifier on disk: a folder of JSON and safetensors, for one direction or for both.

In: weights, vocabulary, text pipeline, labels and provenance. Out: a folder, or the parts again as
`ClassifierParts`. Two directions share everything but their tensors: those of the forward model lie
in model.safetensors, those of the backward one beside them in model-backward.safetensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ulmfit.errors import UserError
from ulmfit.files import CLASSIFIER, MANIFEST, atomic_folder, fingerprint, in_run
from ulmfit.models.classifier import Classifier
from ulmfit.models.classifier_arch import ClassifierArch
from ulmfit.models.classifier_manifest import (
    KIND,
    LINEAR,
    WEIGHTS_BACKWARD,
    ClassifierManifest,
    classifier_card,
    classifier_fingerprint,
)
from ulmfit.models.classifier_weights import require_classifier_fit
from ulmfit.models.label_set import LABELS, LabelSet
from ulmfit.models.linear_part import LinearPart
from ulmfit.models.manifest import BOTH, Fingerprints, Provenance, to_json
from ulmfit.models.parts import (
    AGAIN,
    CARD,
    WEIGHTS,
    TextPipeline,
    hashes,
    load_tensors,
    load_text,
    load_vocab,
    read_written,
    save_tensors,
    save_text,
    versions,
)
from ulmfit.models.precision import Precision
from ulmfit.text.corpus import SUBWORD_MODEL
from ulmfit.text.tokenizers import Tokenizer
from ulmfit.text.vocab import Vocab


@dataclass(frozen=True, eq=False)
class ClassifierParts:
    """What a classifier's folder holds."""

    folder: Path
    manifest: ClassifierManifest
    vocab: Vocab
    text: TextPipeline
    labels: LabelSet
    weights: Mapping[str, dict[str, Tensor]]
    """The tensors of each direction."""
    linear: LinearPart | None = None
    """What speaks beside the encoder, in all directions alike."""

    @property
    def arch(self) -> ClassifierArch:
        """The architecture, the same in both directions."""
        return self.manifest.arch

    @property
    def directions(self) -> tuple[str, ...]:
        """forward, backward, or the two in this order."""
        return self.manifest.provenance.directions

    @property
    def fingerprint(self) -> str:
        """A hash of all that the manifest says."""
        return fingerprint(to_json(self.manifest))

    def model(self, direction: str, *, precision: Precision = "auto") -> Classifier:
        """Build a direction's module in evaluation mode; all of them share the tensors of `weights`."""
        with torch.device("meta"):
            model = Classifier(self.arch, len(self.vocab), precision=precision)
        model.load_state_dict(self.weights[direction], assign=True)
        return model.requires_grad_(False).eval()

    def tokenizer(self) -> Tokenizer:
        """Build the tokenizer, and refuse one that has changed since."""
        return self.text.tokenizer(self.folder, self.manifest.versions)


def save_classifier(
    out: str | Path,
    weights: Mapping[str, Mapping[str, Tensor]],
    *,
    arch: ClassifierArch,
    vocab: Vocab,
    text: TextPipeline,
    labels: LabelSet,
    provenance: Provenance,
    linear: LinearPart | None = None,
    files: Mapping[str, bytes] | None = None,
) -> ClassifierParts:
    """Write a classifier's folder, whole or not at all, and return it loaded.

    `weights` has the tensors of each direction that the provenance names; `files` are put beside them.
    """
    _require_whole(weights, arch, labels, provenance)
    for direction, tensors in weights.items():
        where = f"the {direction} weights for {out}"
        require_classifier_fit(tensors, arch, n_vocab=len(vocab), where=where)
    with atomic_folder(out, kind=KIND) as folder:
        for name, content in (files or {}).items():  # first: no name can replace a part
            (folder / name).write_bytes(content)
        for direction, name in zip(provenance.directions, (WEIGHTS, WEIGHTS_BACKWARD)):
            save_tensors(folder / name, weights[direction])
        if linear is not None:
            (folder / LINEAR).write_bytes(linear.to_bytes())
        save_text(folder, vocab, text)
        labels.save(folder)
        manifest = ClassifierManifest(
            arch=arch,
            n_vocab=len(vocab),
            provenance=provenance,
            fingerprints=Fingerprints(
                vocab=vocab.fingerprint,
                tokenizer=text.fingerprint,
                architecture=classifier_fingerprint(arch),
                parent=provenance.parent,
            ),
            files=hashes(folder, (WEIGHTS, WEIGHTS_BACKWARD, LINEAR, LABELS, SUBWORD_MODEL)),
            versions=versions(),
        )
        (folder / CARD).write_text(classifier_card(manifest, labels), encoding="utf-8")
        manifest.save(folder)
    return load_classifier(out)


def load_classifier(folder: str | Path) -> ClassifierParts:
    """Read a classifier's folder, or that of the run which made it, proving that its parts belong together."""
    folder = in_run(folder, CLASSIFIER)
    manifest = ClassifierManifest.load(folder)
    vocab = load_vocab(folder, manifest)
    if manifest.fingerprints.architecture != classifier_fingerprint(manifest.arch):
        raise UserError(f"{folder / MANIFEST}: the architecture was changed by hand: {AGAIN}")
    text = load_text(folder, manifest)
    read_written(folder / LABELS, manifest)
    labels = LabelSet.load(folder)
    weights = {}
    for direction, name in manifest.weight_files().items():
        weights[direction] = load_tensors(folder / name, manifest)
        where = str(folder / name)
        require_classifier_fit(weights[direction], manifest.arch, n_vocab=len(vocab), where=where)
    _require_whole(weights, manifest.arch, labels, manifest.provenance)
    linear = _load_linear(folder, manifest)
    return ClassifierParts(folder, manifest, vocab, text, labels, weights, linear)


def _load_linear(folder: Path, manifest: ClassifierManifest) -> LinearPart | None:
    """Read the linear part, if the manifest knows of one."""
    if LINEAR not in manifest.files:
        return None
    return LinearPart.from_bytes(
        read_written(folder / LINEAR, manifest),
        n_vocab=manifest.n_vocab,
        n_outputs=manifest.arch.n_outputs,
        where=str(folder / LINEAR),
    )


def join_classifiers(
    out: str | Path,
    *,
    forward: ClassifierParts,
    backward: ClassifierParts,
    provenance: Provenance,
    temperature: float = 1.0,
    files: Mapping[str, bytes] | None = None,
) -> ClassifierParts:
    """Write a forward and a backward classifier of the same labels and vocabulary as one folder.

    The forward one's linear part stands for both, which learnt from the same documents.
    """
    for name, one, other in (
        ("labels", forward.labels.names, backward.labels.names),
        ("kinds of label", forward.labels.kind, backward.labels.kind),
        ("vocabularies", forward.vocab, backward.vocab),
        ("architectures", forward.arch, backward.arch),
    ):
        if one != other:
            raise UserError(
                f"the {name} of {forward.folder} and {backward.folder} differ: "
                "train both directions on one corpus with the same settings"
            )
    return save_classifier(
        out,
        {"forward": forward.weights["forward"], "backward": backward.weights["backward"]},
        arch=forward.arch,
        vocab=forward.vocab,
        text=forward.text,
        labels=forward.labels.tempered(temperature),
        linear=forward.linear,
        provenance=replace(provenance, direction=BOTH),
        files=files,
    )


def _require_whole(
    weights: Mapping[str, Any], arch: ClassifierArch, labels: LabelSet, provenance: Provenance
) -> None:
    """Refuse parts that contradict each other."""
    if set(weights) != set(provenance.directions):
        raise UserError(
            f"weights of {', '.join(weights) or 'no direction'} for a classifier that reads "
            f"{' and '.join(provenance.directions)}: give the weights of each direction"
        )
    if len(labels.names) != arch.n_outputs:
        raise UserError(
            f"{len(labels.names)} labels ({', '.join(labels.names[:5])}) for {arch.n_outputs} "
            "outputs: give one name for each output, in their order"
        )
