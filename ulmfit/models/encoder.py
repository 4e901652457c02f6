"""The part of a language model that reads: ids (bs, seq_len) -> hidden states (bs, seq_len, emb_sz).

An embedding and a stack of recurrent layers of one kind, with the AWD-LSTM's dropouts around them.
The state comes in as an argument and goes out with the result; the module keeps none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ulmfit.models.arch import ArchConfig
from ulmfit.models.dropout import embedding_dropout, locked_dropout
from ulmfit.models.precision import Precision
from ulmfit.models.state import LayerState, State
from ulmfit.text.vocab import PAD_ID

EMBEDDING_RANGE = 0.1  # weights start uniform in +-0.1, as in fastai


@dataclass(frozen=True)
class Encoded:
    """The last layer for each token, before and after output dropout, and the state after the text."""

    raw: Tensor  # (bs, seq_len, emb_sz)
    dropped: Tensor  # (bs, seq_len, emb_sz)
    state: State
    embedding: Tensor
    """(n_vocab, emb_sz): the weights that were read, for a decoder which shares them."""


class RecurrentLayer(Protocol):
    """What the encoder asks of a layer; all of it time first."""

    def initial_state(self, x: Tensor) -> LayerState:
        """Make the state before any text for the batch, device and dtype of `x`."""
        ...

    def drop_weight(self, p: float) -> Tensor:
        """Drop entries of the weight that has a dropout of its own; the parameter stays."""
        ...

    def __call__(
        self, x: Tensor, state: LayerState, *, weight: Tensor, precision: Precision
    ) -> tuple[Tensor, LayerState]:
        """Read `x` (seq_len, bs, inputs) with what `drop_weight` gave; give (seq_len, bs, units) and the state after it."""
        ...


class Encoder(nn.Module):
    """Embedding and recurrent layers; `precision` says in which format it multiplies."""

    def __init__(
        self,
        arch: ArchConfig,
        n_vocab: int,
        *,
        layers: Iterable[nn.Module],
        precision: Precision = "auto",
    ) -> None:
        super().__init__()
        self.arch, self.precision = arch, precision
        self.embedding = nn.Embedding(n_vocab, arch.emb_sz, padding_idx=PAD_ID)
        nn.init.uniform_(self.embedding.weight, -EMBEDDING_RANGE, EMBEDDING_RANGE)
        self.rnns = nn.ModuleList(layers)

    def drop_weights(self) -> tuple[Tensor, ...]:
        """Draw the masks of the recurrent weights, for as many calls as are to share them."""
        layers = cast("Iterable[RecurrentLayer]", self.rnns)
        return tuple(layer.drop_weight(self._p("weight_p")) for layer in layers)

    def forward(
        self,
        ids: Tensor,
        state: State | None = None,
        *,
        weights: tuple[Tensor, ...] | None = None,
        nudge: Tensor | None = None,
    ) -> Encoded:
        """Read `ids` (bs, seq_len), going on from `state` or from the beginning of a text.

        `weights` come from `drop_weights`; without them, this call draws masks of its own. `nudge` (bs, seq_len, emb_sz)
        is added to the embedded text.
        """
        weights = self.drop_weights() if weights is None else weights
        embedding = _Shared.apply(self.embedding.weight)
        is_sparse = (
            ids.device.type == "cpu"
        )  # elsewhere adding sparse rows means sorting them first
        x = embedding_dropout(
            ids.t(), embedding, self._p("embed_p"), pad_id=PAD_ID, is_sparse=is_sparse
        )  # (seq_len, bs, emb_sz)
        if nudge is not None:
            x = x + nudge.transpose(0, 1)
        x = locked_dropout(x, self._p("input_p"))
        after = []
        for depth, layer in enumerate(cast("Iterable[RecurrentLayer]", self.rnns)):
            if depth:
                x = locked_dropout(x, self._p("hidden_p"))
            before = layer.initial_state(x) if state is None else state[depth]
            x, layer_state = layer(x, before, weight=weights[depth], precision=self.precision)
            after.append(layer_state)
        dropped = locked_dropout(x, self._p("output_p"))
        return Encoded(x.transpose(0, 1), dropped.transpose(0, 1), tuple(after), embedding)

    def layer_groups(self) -> list[list[nn.Parameter]]:
        """List the parameters from the bottom up: the embedding, then each recurrent layer."""
        return [list(self.embedding.parameters()), *(list(r.parameters()) for r in self.rnns)]

    def _p(self, name: str) -> float:
        return self.arch.dropout(name) if self.training else 0.0


class _Shared(torch.autograd.Function):
    """Weights that an embedding and a decoder read, whose gradients arrive as one and leave dense.

    A decoder's gradient is dense and an embedding's a few rows, which autograd adds to it in place.
    Two dense ones would take 100 MB more at 60,000 words.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor) -> Tensor:
        return weight.view_as(weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.to_dense() if gradient.is_sparse else gradient


def uniform_parameter(*shape: int, bound: float) -> nn.Parameter:
    """Make a parameter that starts uniform in +-bound."""
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
