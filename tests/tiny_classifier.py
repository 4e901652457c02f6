"""A classifier's folder that is made in a moment: random weights over a corpus's vocabulary."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ulmfit.models.arch import ArchConfig
from ulmfit.models.classifier import Classifier
from ulmfit.models.classifier_arch import ClassifierArch
from ulmfit.models.classifier_artefact import ClassifierParts, save_classifier
from ulmfit.models.label_set import LabelSet
from ulmfit.models.linear_part import LinearPart
from ulmfit.models.manifest import Provenance
from ulmfit.models.parts import TextPipeline
from ulmfit.text.corpus import Corpus

LM_ARCH = ArchConfig(emb_sz=16, n_hid=24, n_layers=2)
LABELS = LabelSet("category", ("negative", "positive", "undecided"))


def tiny_weights(arch: ClassifierArch, n_vocab: int, *, seed: int = 0) -> dict[str, Tensor]:
    """Draw weights that are large enough for every token to matter."""
    generator = torch.Generator().manual_seed(seed)
    weights = Classifier(arch, n_vocab).state_dict()
    for name, tensor in weights.items():
        if tensor.is_floating_point():
            low = 0.5 if name.endswith("running_var") else -0.8
            tensor.uniform_(low, 0.8, generator=generator)
    return weights


def tiny_linear(n_vocab: int, n_outputs: int = 3, *, seed: int = 0) -> LinearPart:
    """Draw weights of every third token and of some pairs."""
    draw = np.random.default_rng(seed)
    pairs = draw.choice(np.arange(n_vocab, n_vocab * (1 + n_vocab)), 200, replace=False)
    grams = np.sort(np.concatenate([np.arange(0, n_vocab, 3), pairs]))
    weights = draw.normal(size=(len(grams), n_outputs)).astype(np.float32)
    return LinearPart(n_vocab, grams, weights, draw.normal(size=n_outputs).astype(np.float32))


def write_tiny_classifier(
    out: Path,
    corpus: Corpus,
    *,
    direction: str = "forward",
    backbone: str = "awd_lstm",
    labels: LabelSet = LABELS,
    linear: LinearPart | None = None,
) -> ClassifierParts:
    """Write a classifier of one direction, or of both."""
    arch = ClassifierArch.of(replace(LM_ARCH, backbone=backbone), len(labels.names))
    provenance = Provenance("a test", direction, seed=7, metrics={"accuracy": 0.75})
    weights = {
        name: tiny_weights(arch, len(corpus.vocab), seed=seed)
        for seed, name in enumerate(provenance.directions)
    }
    return save_classifier(
        out,
        weights,
        arch=arch,
        vocab=corpus.vocab,
        text=TextPipeline.of(corpus),
        labels=labels,
        linear=linear,
        provenance=provenance,
    )
