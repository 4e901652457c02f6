"""A language model's folder -> what one can do with it: logits, generated text, scores, embeddings.

The state of a text lives in the call that reads it, so any number of threads may share one model.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ulmfit.config import TextConfig, require
from ulmfit.errors import UserError
from ulmfit.history import HISTORY, STEPS, plot_history, read_history, read_steps
from ulmfit.inference.reading import PIECE, negative_log_likelihoods, pooled_states
from ulmfit.inference.sampling import Sampling, new_generator
from ulmfit.inference.texts import TextEncoder, checked
from ulmfit.markup import facts
from ulmfit.models.artefact import LanguageModelParts, load_language_model
from ulmfit.models.precision import Precision, without_autocast
from ulmfit.models.state import State
from ulmfit.text.lm_stream import is_backward
from ulmfit.text.rules import EOS, FLD, PAD, UNK
from ulmfit.text.vocab import BOS_ID, FAKE, Vocab

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from ulmfit.models.arch import ArchConfig
    from ulmfit.models.manifest import LanguageModelManifest
    from ulmfit.text.tokenizers import Tokenizer

# Tokens that say nothing to a reader. xxmaj, xxup, xxrep and xxwrep may come: decoding carries them out.
NEVER_GENERATED = (UNK, PAD, EOS, FLD, FAKE)

_MOST_NATS = 709  # whose exponential is the largest that a float holds


@dataclass(frozen=True)
class Score:
    """How well a language model foresaw a text."""

    nats: float
    """Negative log-likelihood (natural logarithm) of all tokens after the one that is read first."""
    n_tokens: int
    """Tokens that were scored; 0 for an empty text."""
    n_characters: int
    """Of the text as it was given."""

    @property
    def perplexity(self) -> float:
        """The exponential of the mean loss of a token; NaN for an empty text."""
        mean = self.nats / self.n_tokens if self.n_tokens else math.nan
        return math.inf if mean > _MOST_NATS else math.exp(mean)

    @property
    def bits_per_character(self) -> float:
        """The loss in bits, spread over the text's characters: comparable across tokenizers."""
        return self.nats / math.log(2) / self.n_characters if self.n_characters else math.nan


class LanguageModel:
    """A trained language model with its vocabulary and tokenizer.

    `precision="fp32"` is exact: a text's numbers are the same alone and in any company, to 1e-5.
    "auto" is faster where the processor multiplies bfloat16, and rounds.
    """

    def __init__(self, parts: LanguageModelParts, *, precision: Precision = "fp32") -> None:
        self.parts = parts
        self._model = parts.model(precision=precision)

    @classmethod
    def load(cls, folder: str | Path, *, precision: Precision = "fp32") -> LanguageModel:
        """Load a folder, proving that its parts belong together."""
        return cls(load_language_model(folder), precision=precision)

    @property
    def folder(self) -> Path:
        """Where the model lies."""
        return self.parts.folder

    @property
    def vocab(self) -> Vocab:
        """The tokens and their ids."""
        return self.parts.vocab

    @property
    def arch(self) -> ArchConfig:
        """The architecture."""
        return self.parts.arch

    @property
    def manifest(self) -> LanguageModelManifest:
        """What the folder's manifest.json says."""
        return self.parts.manifest

    @property
    def direction(self) -> str:
        """forward, or backward: each text read from its end."""
        return self.manifest.provenance.direction

    def text_config(self, like: TextConfig = TextConfig()) -> TextConfig:
        """Give the config of a corpus that reads text as this model does; what that leaves open is as in `like`."""
        return self.parts.text.reading(like)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that the model was trained with."""
        return self.parts.tokenizer()

    @cached_property
    def _encoder(self) -> TextEncoder:
        return TextEncoder(self.tokenizer, self.vocab)

    @property
    def history(self) -> pd.DataFrame:
        """How it was trained, a row an epoch; empty for a model that was not trained here."""
        import pandas as pd

        path = self.folder / HISTORY
        return pd.DataFrame(read_history(path) if path.exists() else [])

    def plot_history(self) -> Figure:
        """Draw the losses and the learning rates of its training."""
        steps = self.folder / STEPS
        return plot_history(
            read_history(self.folder / HISTORY),
            read_steps(steps) if steps.exists() else [],
            title=str(self.folder),
        )

    @torch.no_grad()
    @without_autocast
    def logits(self, ids: np.ndarray | Tensor) -> Tensor:
        """Give the logits (bs, seq_len, n_vocab) after each of `ids` (bs, seq_len), in the order given."""
        ids = torch.as_tensor(ids).long()
        if ids.dim() != 2 or not ids.numel():
            raise UserError(f"ids of shape {tuple(ids.shape)}: give them as (texts, tokens)")
        if ids.min() < 0 or ids.max() >= len(self.vocab):
            raise UserError(
                f"ids from {ids.min()} to {ids.max()}: this vocabulary has 0 to {len(self.vocab) - 1}"
            )
        return self._model(ids).logits()

    def generate(
        self,
        prompt: str = "",
        n_tokens: int = 50,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        seed: int | None = None,
        stop_at_document: bool = False,
    ) -> str:
        """Write what comes after the prompt, which is not part of the answer; a backward model writes what comes before.

        `n_tokens` counts tokens as the model sees them, `xxmaj` among them. Nothing unknown, no padding and no
        field mark is generated, nor a new document; with `stop_at_document` its beginning ends the text early.
        """
        sampling = Sampling(temperature, top_k, top_p, min_p)
        is_allowed = isinstance(n_tokens, Integral) and n_tokens >= 1
        require(is_allowed, "n_tokens", n_tokens, "a whole number, 1 or more")
        generator = new_generator(seed)
        backward = is_backward(self.direction)
        (ids,) = self._encoder.encode([prompt])
        if backward and len(ids) > 1:
            ids = ids[:0:-1].copy()  # without xxbos, which a backward model reads as the end
        excluded = [i for i, token in enumerate(self.vocab) if token in NEVER_GENERATED]
        if not stop_at_document:
            excluded.append(BOS_ID)
        new = self._continue(
            torch.from_numpy(ids),
            n_tokens,
            sampling=sampling,
            generator=generator,
            excluded=excluded,
        )
        return self.tokenizer.decode(self.vocab.decode(new[::-1] if backward else new))

    def score(self, texts: Iterable[str]) -> list[Score]:
        """Measure how well the model foresees each text; a backward model reads it from its end."""
        texts = list(checked(texts))
        documents = self._encoder.encode(texts)
        nats = negative_log_likelihoods(self._model, documents, direction=self.direction)
        return [
            Score(loss, len(document) - 1, len(text))
            for loss, document, text in zip(nats.tolist(), documents, texts)
        ]

    def embed(self, texts: Iterable[str]) -> np.ndarray:
        """Turn each text into one vector: (n, 3 * emb_sz), the last layer's [last, maximum, mean]."""
        documents = self._encoder.encode(list(checked(texts)))
        return pooled_states(self._model, documents, direction=self.direction).numpy()

    @torch.no_grad()
    @without_autocast
    def _continue(
        self,
        ids: Tensor,
        n_tokens: int,
        *,
        sampling: Sampling,
        generator: torch.Generator,
        excluded: list[int],
    ) -> list[int]:
        """Read `ids` once, then each new id, until there are `n_tokens` or a document begins."""
        state: State | None = None
        for piece in ids.split(PIECE):
            output = self._model(piece.unsqueeze(0), state)
            state = output.state
        new: list[int] = []
        while True:
            logits = output.logits(slice(-1, None))[0, 0]
            logits[excluded] = -torch.inf
            drawn = sampling.draw(logits, generator)
            if drawn == BOS_ID:
                return new
            new.append(drawn)
            if len(new) == n_tokens:
                return new
            output = self._model(torch.tensor([[drawn]]), output.state)

    def __str__(self) -> str:
        return "\n  ".join([f"language model {self.folder}", *self._facts()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return facts(f"language model {self.folder}", self._facts())

    def _facts(self) -> list[str]:
        """Say in a few lines what this is."""
        arch, made = self.arch, self.manifest.provenance
        size = sum(tensor.numel() for tensor in self.parts.weights.values())
        layers = f"{arch.n_layers} layers of {arch.n_hid}, embedding {arch.emb_sz}"
        metrics = ", ".join(f"{name} {value:g}" for name, value in made.metrics.items())
        return [
            f"{made.direction} {arch.backbone}, {layers}: {size:,} parameters",
            f"{len(self.vocab):,} entries in the vocabulary",
            f"metrics: {metrics or 'none'}",
            f"from {made.origin}",
        ]
