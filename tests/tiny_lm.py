"""A language model's folder that is made in a moment: two small layers of random weights over a corpus's vocabulary."""

from __future__ import annotations

from pathlib import Path

import torch

from ulmfit.models.arch import ArchConfig
from ulmfit.models.artefact import LanguageModelParts, TextPipeline, save_language_model
from ulmfit.models.language_model import LanguageModel
from ulmfit.models.manifest import Provenance
from ulmfit.text.corpus import Corpus

ARCH = ArchConfig(emb_sz=16, n_hid=24, n_layers=2)


def write_tiny_lm(
    out: Path, corpus: Corpus, *, direction: str = "forward", backbone: str = "awd_lstm"
) -> LanguageModelParts:
    """Write weights that are large enough for every context to matter."""
    arch = ArchConfig(backbone, ARCH.emb_sz, ARCH.n_hid, ARCH.n_layers)
    generator = torch.Generator().manual_seed(0)
    weights = {
        name: torch.empty_like(tensor).uniform_(-0.8, 0.8, generator=generator)
        for name, tensor in LanguageModel(arch, len(corpus.vocab)).state_dict().items()
    }
    return save_language_model(
        out,
        weights,
        arch=arch,
        vocab=corpus.vocab,
        text=TextPipeline.of(corpus),
        provenance=Provenance("a test", direction, metrics={"perplexity": 12.5}),
    )
