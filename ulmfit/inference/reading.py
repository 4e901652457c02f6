"""Documents of any length through a language model, in batches and piece by piece: memory stays bounded.

What counts comes from true lengths, never from ids, so that a document's numbers do not depend on its company.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ulmfit.models.fused_loss import linear_cross_entropy
from ulmfit.models.language_model import LanguageModel, LMOutput
from ulmfit.models.precision import without_autocast
from ulmfit.models.state import State, select
from ulmfit.text.buckets import DocumentBatches, PaddedBatch

BS = 32
BATCH_TOKENS = 1 << 17  # padding included; a document that is longer is a batch of its own
PIECE = 128  # tokens; with BS, some 150 MB of gates in a layer of 1152 units


@dataclass(frozen=True)
class Piece:
    """The next tokens of the documents of a batch that are not over yet."""

    output: LMOutput
    targets: Tensor  # (n, steps) the ids one token later
    n_left: (
        Tensor  # (n, steps) tokens from this one to the document's end; 0 or less where it is over
    )
    places: Tensor  # (n,) of the documents


@torch.no_grad()
def read_pieces(
    model: LanguageModel, documents: Sequence[np.ndarray], *, direction: str
) -> Iterator[Piece]:
    """Yield the documents' hidden states, each document from the beginning to the end that `direction` says."""
    ids = np.concatenate([np.empty(0, np.int64), *documents])
    offsets = np.cumsum([0, *map(len, documents)])
    rows = np.arange(len(documents))
    batches = DocumentBatches(
        ids,
        offsets,
        rows=rows,
        bs=BS,
        max_tokens=BATCH_TOKENS,
        direction=direction,
        shuffle=False,
    )
    for batch in batches.batches(0):
        yield from _read_batch(model, batch)


def _read_batch(model: LanguageModel, batch: PaddedBatch) -> Iterator[Piece]:
    """Read a batch whose documents come longest first: those that go on are always the first rows."""
    width = batch.ids.shape[1]
    ids = torch.from_numpy(np.pad(batch.ids, ((0, 0), (0, 1))))  # a last target, never counted
    lengths, places = torch.from_numpy(batch.lengths), torch.from_numpy(batch.places)
    state: State | None = None
    for start in range(0, width, PIECE):
        stop = min(width, start + PIECE)
        n = int((lengths > start).sum())
        output = model(ids[:n, start:stop], None if state is None else select(state, slice(n)))
        state = output.state
        n_left = lengths[:n, None] - torch.arange(start, stop)
        yield Piece(output, ids[:n, start + 1 : stop + 1], n_left, places[:n])


@torch.no_grad()
@without_autocast
def negative_log_likelihoods(
    model: LanguageModel, documents: Sequence[np.ndarray], *, direction: str
) -> Tensor:
    """Sum up, for each document, the losses in nats of its tokens after the first: (n,) float64."""
    totals = torch.zeros(len(documents), dtype=torch.float64)
    for piece in read_pieces(model, documents, direction=direction):
        output, is_scored = piece.output, piece.n_left > 1
        if not is_scored.any():  # the last tokens of documents, or empty ones
            continue
        scored = linear_cross_entropy(
            output.dropped[is_scored],
            piece.targets[is_scored],
            weight=output.weight,
            bias=output.bias,
            precision=output.precision,
        )
        rows = is_scored.nonzero()[:, 0]
        totals.index_add_(0, piece.places[rows], scored.losses.double())
    return totals


@torch.no_grad()
@without_autocast
def pooled_states(
    model: LanguageModel, documents: Sequence[np.ndarray], *, direction: str
) -> Tensor:
    """Pool each document's last layer to [last, maximum, mean]: (n, 3 * emb_sz) float32."""
    shape = len(documents), model.arch.emb_sz
    last, highest = torch.zeros(shape), torch.full(shape, -torch.inf)
    total = torch.zeros(shape, dtype=torch.float64)
    for piece in read_pieces(model, documents, direction=direction):
        hidden, places = piece.output.raw, piece.places
        is_over = (piece.n_left < 1).unsqueeze(2)
        is_last = piece.n_left == 1
        last[places[is_last.nonzero()[:, 0]]] = hidden[is_last]
        best = hidden.masked_fill(is_over, -torch.inf).amax(1)
        highest[places] = torch.maximum(highest[places], best)
        total[places] += hidden.masked_fill(is_over, 0.0).sum(1, dtype=torch.float64)
    lengths = torch.tensor([[max(1, len(document))] for document in documents]).view(-1, 1)
    return torch.cat([last, highest, (total / lengths).float()], dim=1)
