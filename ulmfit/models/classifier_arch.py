"""The architecture of a classifier as one frozen value: the encoder's, how it reads a document, and the head.

What a classifier's tensors, its answers and its training depend on. Imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ulmfit.config import require
from ulmfit.files import from_json
from ulmfit.models.arch import ArchConfig

# fastai 2.8, awd_lstm_clas_config; the paper prints the same five (Howard & Ruder 2018, 4.1).
CLASSIFIER_DROPOUTS: Mapping[str, float] = {
    "input_p": 0.4, "output_p": 0.4, "hidden_p": 0.3, "embed_p": 0.05, "weight_p": 0.5,
}  # fmt: skip


@dataclass(frozen=True)
class PoolingConfig:
    """How a document is read chunk by chunk, and what of it is pooled."""

    bptt: int = 72
    """Tokens of a chunk (fastai 2.8; the paper says 70)."""
    max_len: int | None = 1440
    """Pool the chunks that begin within so many tokens of the document's end (fastai 2.8); None pools all.
    Earlier tokens are read for the state they leave, without a gradient."""
    detach_chunks: bool = True
    """Let no gradient cross from a chunk into the one before, though its state does (fastai 0.7 to 2.8)."""
    shared_mask: bool = False
    """Drop the recurrent weights once for all chunks of a batch; fastai draws a mask for each chunk."""

    def __post_init__(self) -> None:
        require(self.bptt >= 1, "bptt", self.bptt, "1 or more")
        is_wide = self.max_len is None or self.max_len >= self.bptt
        require(is_wide, "max_len", self.max_len, f"bptt ({self.bptt}) or more")

    def first_token(self, length: int) -> int:
        """Say where in a document of `length` tokens pooling begins: at the beginning of a chunk."""
        before = 0 if self.max_len is None else max(0, length - self.max_len)
        return -(-before // self.bptt) * self.bptt


@dataclass(frozen=True)
class ClassifierArch:
    """An encoder, concat pooling and a head of linear blocks.

    The encoder's `output_p` is the dropout of the head's first block; `drop_mult` counts for it.
    """

    n_outputs: int
    """One for each label; 1 for a number."""
    encoder: ArchConfig = field(
        default_factory=lambda: replace(ArchConfig(), **CLASSIFIER_DROPOUTS)
    )
    """Sizes are the language model's, dropouts the classifier's own."""
    hidden_sizes: tuple[int, ...] = (50,)
    """Units of the head's blocks before the last (Howard & Ruder 2018, 4.1)."""
    head_p: float = 0.1
    """Dropout of the head's blocks after the first (fastai 2.8)."""
    head_bias: bool = False
    """Give the linear layers a bias (fastai 0.7 and 1); fastai 2.8 leaves it to the batch norm before."""
    pooling: PoolingConfig = PoolingConfig()
    """How documents are read."""

    def __post_init__(self) -> None:
        require(self.n_outputs >= 1, "n_outputs", self.n_outputs, "1 or more")
        is_positive = all(size >= 1 for size in self.hidden_sizes)
        require(is_positive, "hidden_sizes", self.hidden_sizes, "1 or more each")
        require(0 <= self.head_p < 1, "head_p", self.head_p, "at least 0 and below 1")

    @classmethod
    def of(cls, lm: ArchConfig, n_outputs: int, *, drop_mult: float = 1.0) -> ClassifierArch:
        """Take over a language model's sizes, with the published dropouts of a classifier."""
        encoder = replace(lm, **CLASSIFIER_DROPOUTS, drop_mult=drop_mult)
        return cls(n_outputs, encoder)

    def widths(self) -> tuple[int, ...]:
        """List the units before, between and after the head's blocks."""
        return (3 * self.encoder.emb_sz, *self.hidden_sizes, self.n_outputs)

    def dropouts(self) -> tuple[float, ...]:
        """List the dropouts of the head's blocks."""
        return (self.encoder.dropout("output_p"), *[self.head_p] * len(self.hidden_sizes))

    def to_json(self) -> dict[str, Any]:
        """Give the fields as JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> ClassifierArch:
        """Read what `to_json` gave."""
        parts = {
            "encoder": from_json(ArchConfig, content["encoder"]),
            "pooling": from_json(PoolingConfig, content["pooling"]),
        }
        return from_json(cls, {**content, **parts})
