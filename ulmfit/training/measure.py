"""How well a language model foresees a split of a corpus: batched, or read as one stream from beginning to end.

In batches each of many rows starts without context in the middle of a text, which costs some
perplexity. Published AWD-LSTM figures read one stream (batch size 1): `full_context=True`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ulmfit.errors import UserError
from ulmfit.inference.language_model import LanguageModel
from ulmfit.inference.pair import Source, open_one
from ulmfit.models.artefact import require_same_vocab
from ulmfit.models.state import State, resize
from ulmfit.text.corpus import Corpus
from ulmfit.text.holdout import lm_rows
from ulmfit.text.lm_stream import LMStream
from ulmfit.training.metrics import METRICS, TokenSums

SEQ_LEN = 72  # the result does not depend on it: no gradient, and the state is carried


@dataclass(frozen=True)
class LMScores:
    """The metrics of a language model on a split."""

    split: str
    n_tokens: int
    """Tokens that were scored."""
    full_context: bool
    metrics: dict[str, float]

    def __str__(self) -> str:
        how = "one stream" if self.full_context else "batched"
        found = ", ".join(f"{name} {value:.4g}" for name, value in self.metrics.items())
        return f"{self.split}, {self.n_tokens:,} tokens, {how}: {found}"


@torch.no_grad()
def evaluate_lm(
    lm: Source | str | Path,
    corpus: Corpus | str | Path,
    *,
    split: str = "valid",
    full_context: bool = False,
    bs: int = 64,
) -> LMScores:
    """Measure a language model on a split of a corpus with the same vocabulary, in eval mode; of a pair the forward one.

    Without a valid split, the documents that its training held out stand for it.
    """
    lm = open_one(lm)
    corpus = corpus if isinstance(corpus, Corpus) else Corpus.load(corpus)
    require_same_vocab(lm.parts, corpus)
    rows = corpus.rows(split)
    if split == "valid" and not len(rows):
        rows = _held_out(lm, corpus)
    if not len(rows):
        found = list(corpus.manifest.splits)
        if "valid" not in found and len(_held_out(lm, corpus)):
            found.append("valid")
        raise UserError(
            f"{corpus.folder} has no {split} documents: --split may be {', '.join(found)}"
        )
    stream = LMStream(
        corpus.ids,
        corpus.offsets,
        rows=rows,
        bs=1 if full_context else bs,
        seq_len=SEQ_LEN,
        direction=lm.direction,
        shuffle=False,
        split=split,
    )
    sums = _read(lm, stream)
    characters = corpus.characters[rows].sum() * sums.tokens / stream.n_tokens
    whole = TokenSums(sums.nll, sums.hits, sums.tokens, round(float(characters)))
    metrics = {name: metric(whole) for name, metric in METRICS.items()}
    return LMScores(split, sums.tokens, full_context, metrics)


def _held_out(lm: LanguageModel, corpus: Corpus) -> np.ndarray:
    """Draw again what a training on this corpus held out."""
    settings = lm.manifest.provenance.config
    config = settings.get("config", {})
    if settings.get("corpus") != corpus.fingerprint or "valid_share" not in config:
        return corpus.rows("valid")  # it was not trained on this corpus
    return lm_rows(
        corpus,
        share=config["valid_share"],
        seed=config["seed"],
        max_valid=config.get("max_valid"),
        n_labels=config.get("n_labels"),
        protocol=config["protocol"],
    ).valid


def _read(lm: LanguageModel, stream: LMStream) -> TokenSums:
    """Add up losses and hits from the first token to the last."""
    model, sums, state = lm.parts.model(precision="auto"), TokenSums(), None
    for window in stream.batches(0):
        ids = torch.from_numpy(window)
        before: State | None = None if state is None else resize(state, len(ids))
        output = model(ids[:, :-1], before)
        state = output.state
        scored = output.losses(ids[:, 1:].contiguous(), with_hits=True)
        assert scored.hits is not None
        nats = scored.losses.double().sum().item()
        sums += TokenSums(nats, int(scored.hits.sum()), scored.hits.numel())
    return sums
