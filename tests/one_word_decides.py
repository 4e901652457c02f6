"""A classifier that is built by hand: `fine` speaks for pos, `dull` for neg, and nothing else says anything.

Its LSTM forgets at once, so that a hidden state holds the last token alone; its head reads the maximum.
"""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import torch

import ulmfit
from ulmfit.config import TextConfig
from ulmfit.inference.classifier import Classifier
from ulmfit.models.arch import ArchConfig
from ulmfit.models.classifier import Classifier as Module
from ulmfit.models.classifier_arch import ClassifierArch
from ulmfit.models.classifier_artefact import save_classifier
from ulmfit.models.label_set import LabelSet
from ulmfit.models.manifest import Provenance
from ulmfit.models.parts import TextPipeline

STRENGTH = 5.0
# What the word adds to the log-odds: its hidden state, normalised with variance 1, times the head's weight.
WEIGHT = STRENGTH * math.tanh(math.tanh(3.0)) / math.sqrt(1 + 1e-5)


def one_word_decides(folder: Path) -> Classifier:
    """Write the classifier below `folder`, and load it."""
    texts = [f"the film number {n} is {mood} indeed" for n in "1234" for mood in ("fine", "dull")]
    frame = pd.DataFrame({"text": texts, "label": ["pos", "neg"] * 4})
    config = TextConfig(min_freq=1)
    corpus = ulmfit.prepare(frame, folder / "corpus", config=config)
    lm = ArchConfig(emb_sz=4, n_hid=4, n_layers=1)
    arch = ClassifierArch(2, ClassifierArch.of(lm, 2).encoder, hidden_sizes=())
    weights = {
        name: torch.zeros_like(tensor)
        for name, tensor in Module(arch, len(corpus.vocab)).state_dict().items()
    }
    for unit, word in enumerate(("dull", "fine")):
        weights["encoder.embedding.weight"][corpus.vocab.id(word), unit] = 3.0
        weights["head.blocks.0.linear.weight"][unit, 4 + unit] = STRENGTH  # [last, max, mean]
    cell = slice(8, 12)  # gates: input, forget, cell, output
    weights["encoder.rnns.0.weight_ih"][cell] = torch.eye(4)
    for gate, bias in ((0, 30.0), (1, -30.0), (3, 30.0)):
        weights["encoder.rnns.0.bias_ih"][4 * gate : 4 * gate + 4] = bias
    weights["head.blocks.0.norm.weight"] += 1
    weights["head.blocks.0.norm.running_var"] += 1
    parts = save_classifier(
        folder / "model",
        {"forward": weights},
        arch=arch,
        vocab=corpus.vocab,
        text=TextPipeline.of(corpus),
        labels=LabelSet("category", ("neg", "pos")),
        provenance=Provenance("a test", "forward", seed=0),
    )
    return Classifier(parts)
