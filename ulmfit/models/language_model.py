"""The language model: an encoder and a decoder, by default the embedding itself (weight tying).

The forward pass stops at the hidden states. The output knows the decoder, so that a loss can score
its targets without all logits, and whoever wants logits asks for them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ulmfit.models.arch import ArchConfig
from ulmfit.models.backbones import build_encoder
from ulmfit.models.encoder import EMBEDDING_RANGE, Encoded, uniform_parameter
from ulmfit.models.fused_loss import TokenLosses, linear_cross_entropy
from ulmfit.models.precision import Precision, product_dtype
from ulmfit.models.state import State


@dataclass(frozen=True)
class LMOutput:
    """Hidden states for each token, and what turns them into words."""

    raw: Tensor  # (bs, seq_len, emb_sz)
    dropped: Tensor  # (bs, seq_len, emb_sz)
    state: State
    weight: Tensor  # (n_vocab, emb_sz)
    bias: Tensor | None  # (n_vocab,)
    precision: Precision

    def logits(self, steps: slice = slice(None)) -> Tensor:
        """Give the logits (bs, steps, n_vocab); `slice(-1, None)` for the last step only."""
        hidden = self.dropped[:, steps]
        n_rows = hidden.shape[0] * hidden.shape[1]
        dtype = product_dtype(self.weight, self.precision, n_uses=n_rows)
        bias = None if self.bias is None else self.bias.to(dtype)
        return F.linear(hidden.to(dtype), self.weight.to(dtype), bias).float()

    def losses(
        self, targets: Tensor, *, smoothing: float = 0.0, with_hits: bool = False
    ) -> TokenLosses:
        """Score `targets` (bs, seq_len), the ids one token later, without making the logits."""
        return linear_cross_entropy(
            self.dropped,
            targets,
            weight=self.weight,
            bias=self.bias,
            smoothing=smoothing,
            precision=self.precision,
            with_hits=with_hits,
        )


class Decoder(nn.Module):
    """A bias, and a weight only where it is not the embedding's."""

    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(self, arch: ArchConfig, n_vocab: int) -> None:
        super().__init__()
        shape = (n_vocab, arch.emb_sz)
        own = None if arch.tie_weights else uniform_parameter(*shape, bound=EMBEDDING_RANGE)
        self.register_parameter("weight", own)
        bias = nn.Parameter(torch.zeros(n_vocab)) if arch.out_bias else None
        self.register_parameter("bias", bias)


class LanguageModel(nn.Module):
    """Encoder and decoder; `model.encoder.precision` says in which format both multiply."""

    def __init__(self, arch: ArchConfig, n_vocab: int, *, precision: Precision = "auto") -> None:
        super().__init__()
        self.arch, self.n_vocab = arch, n_vocab
        self.encoder = build_encoder(arch, n_vocab)
        self.encoder.precision = precision
        self.decoder = Decoder(arch, n_vocab)

    def forward(self, ids: Tensor, state: State | None = None) -> LMOutput:
        """Read `ids` (bs, seq_len), going on from `state` or from the beginning of a text."""
        encoded: Encoded = self.encoder(ids, state)
        own = self.decoder.weight
        return LMOutput(
            encoded.raw,
            encoded.dropped,
            encoded.state,
            weight=encoded.embedding if own is None else own,
            bias=self.decoder.bias,
            precision=self.encoder.precision,
        )

    def layer_groups(self) -> list[list[nn.Parameter]]:
        """List the parameters as fastai's `awd_lstm_lm_split` does.

        Each recurrent layer is a group, bottom first; the last group, which is trained first, is
        the embedding with the decoder.
        """
        embedding, *layers = self.encoder.layer_groups()
        return [*layers, [*embedding, *self.decoder.parameters()]]
