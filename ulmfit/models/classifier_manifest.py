"""What the manifest.json and the README.md of a classifier say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ulmfit.files import MANIFEST, fingerprint, write_json
from ulmfit.models.arch import SIZES
from ulmfit.models.classifier_arch import ClassifierArch
from ulmfit.models.label_set import LabelSet
from ulmfit.models.manifest import (
    FORMAT,
    Fingerprints,
    Provenance,
    parse_manifest,
    read_manifest,
    to_json,
)
from ulmfit.models.parts import WEIGHTS

KIND = "classifier"
WEIGHTS_BACKWARD = "model-backward.safetensors"  # beside those of the forward model
LINEAR = "linear.safetensors"  # of both directions, if there is a linear part
_INSTEAD = dict.fromkeys(
    ("language_model", "language_model_pair", "corpus"),
    "train one with `ulmfit train-classifier LM CORPUS --out CLASSIFIER`",
)


@dataclass(frozen=True)
class ClassifierManifest:
    """manifest.json of a classifier. The provenance's fields stand at its top level."""

    arch: ClassifierArch
    n_vocab: int
    provenance: Provenance
    fingerprints: Fingerprints
    files: Mapping[str, str]
    """SHA-256 of the files that are not compared by content."""
    versions: Mapping[str, str]
    kind: str = KIND
    format: int = FORMAT

    def save(self, folder: Path) -> None:
        """Write manifest.json."""
        write_json(folder / MANIFEST, to_json(self))

    @classmethod
    def load(cls, folder: Path) -> ClassifierManifest:
        """Read manifest.json, or say what it is instead."""
        content = read_manifest(folder, kind=KIND, instead=_INSTEAD)
        return parse_manifest(cls, content, ClassifierArch.from_json, folder=folder)

    def weight_files(self) -> dict[str, str]:
        """Name the file of each direction's tensors."""
        return dict(zip(self.provenance.directions, (WEIGHTS, WEIGHTS_BACKWARD)))


def classifier_fingerprint(arch: ClassifierArch) -> str:
    """Hash what the answers depend on of an architecture; dropouts may change."""
    encoder = {name: getattr(arch.encoder, name) for name in ("backbone", *SIZES)}
    pooling = [arch.pooling.bptt, arch.pooling.max_len]
    return fingerprint([encoder, pooling, list(arch.widths()), arch.head_bias])


def classifier_card(manifest: ClassifierManifest, labels: LabelSet) -> str:
    """Say in a few lines what this classifier is."""
    arch, made = manifest.arch, manifest.provenance
    encoder = arch.encoder
    shown = ", ".join(labels.names[:20]) + (", ..." if len(labels.names) > 20 else "")
    facts = {
        "Labels": f"{shown} ({labels.kind})",
        "Origin": made.origin,
        "Encoder": f"{encoder.backbone}, {encoder.n_layers} layers of {encoder.n_hid}, embedding {encoder.emb_sz}",
        "Head": " -> ".join(map(str, arch.widths())),
        "Linear part": "NB-SVM of n-grams" if LINEAR in manifest.files else "",
        "Vocabulary": f"{manifest.n_vocab:,} tokens",
        "Directions": " and ".join(made.directions),
        "Temperature": f"{labels.temperature:g}",
        "Protocol": made.protocol,
        "Seed": made.seed,
        "Metrics": ", ".join(f"{name} {value:g}" for name, value in made.metrics.items()),
        "Notes": "; ".join(made.notes),
    }
    lines = [f"- {name}: {fact}" for name, fact in facts.items() if fact not in ("", None)]
    return "# classifier\n\nLoad it with `ulmfit.load(FOLDER)`.\n\n" + "\n".join(lines) + "\n"
