"""The classifier: whole documents through the encoder chunk by chunk (BPT3C), concat pooling, a head.

In: ids padded at the end, and true lengths. Out: logits that depend on nothing else in the batch
(Howard & Ruder 2018, 3.3). Outside of training memory does not grow with a document's length.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ulmfit.errors import UserError
from ulmfit.models.backbones import build_encoder
from ulmfit.models.classifier_arch import ClassifierArch
from ulmfit.models.encoder import Encoded
from ulmfit.models.pooling import Pool
from ulmfit.models.precision import Precision
from ulmfit.models.state import State, detach, resize, select, with_first
from ulmfit.text.vocab import PAD_ID

NORM_BIAS = 1e-3  # at the start, as in fastai
SHORTEST_CHUNK = 16  # tokens, where a chunk ends because a document does
ENCODER = "encoder."  # what the names of an encoder's tensors begin with


@dataclass(frozen=True)
class ClassifierOutput:
    """The logits, and from a model that trains the last layer's states that were pooled."""

    logits: Tensor  # (bs, n_outputs)
    lengths: Tensor  # (bs,) tokens of each document that were pooled
    chunks: tuple[
        Tensor, ...
    ]  # each (n, steps, emb_sz), rows as `order` says; none outside training
    order: Tensor  # (bs,) the rows, the longest first

    @property
    def raw(self) -> Tensor:
        """Join the pooled states (bs, steps, emb_sz), of which each row's first `lengths` count."""
        bs = len(self.logits)
        if not self.chunks:
            return self.logits.new_empty(bs, 0, 0)
        joined = torch.cat([_with_rows(chunk, bs) for chunk in self.chunks], dim=1)
        return joined[self.order.argsort()]

    @property
    def dropped(self) -> Tensor:
        """Give the same as `raw`: a classifier's output dropout comes after pooling, in the head."""
        return self.raw


class Block(nn.Module):
    """Batch norm, dropout, linear: one layer of the head."""

    def __init__(self, n_in: int, n_out: int, *, p: float, bias: bool) -> None:
        super().__init__()
        self.p = p
        self.norm = nn.BatchNorm1d(n_in)
        nn.init.constant_(self.norm.bias, NORM_BIAS)
        self.linear = nn.Linear(n_in, n_out, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map `x` (bs, n_in) to (bs, n_out)."""
        if self.training and len(x) < 2:
            raise UserError(
                "a training batch of one document, and batch normalisation needs two: "
                "set --bs to 2 or more, and train on more than one document"
            )
        return self.linear(F.dropout(self.norm(x), self.p, self.training))


class Head(nn.Module):
    """Blocks with rectified units between them, from pooled states to logits."""

    def __init__(self, arch: ClassifierArch) -> None:
        super().__init__()
        sizes = zip(pairwise(arch.widths()), arch.dropouts())
        self.blocks = nn.ModuleList(
            Block(n_in, n_out, p=p, bias=arch.head_bias) for (n_in, n_out), p in sizes
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map `x` (bs, 3 * emb_sz) to (bs, n_outputs)."""
        for depth, block in enumerate(self.blocks):
            x = block(F.relu(x) if depth else x)
        return x


class Classifier(nn.Module):
    """Encoder and head; `model.encoder.precision` says in which format the encoder multiplies."""

    def __init__(
        self, arch: ClassifierArch, n_vocab: int, *, precision: Precision = "auto"
    ) -> None:
        super().__init__()
        self.arch, self.n_vocab = arch, n_vocab
        self.encoder = build_encoder(replace(arch.encoder, output_p=0.0), n_vocab)
        self.encoder.precision = precision
        self.head = Head(arch)

    def load_encoder(self, weights: Mapping[str, Tensor]) -> None:
        """Begin from the encoder among the tensors of a language model or another classifier."""
        own = {
            name.removeprefix(ENCODER): tensor
            for name, tensor in weights.items()
            if name.startswith(ENCODER)
        }
        self.encoder.load_state_dict(own)

    def forward(
        self, ids: Tensor, lengths: Tensor, nudge: Tensor | None = None
    ) -> ClassifierOutput:
        """Classify documents `ids` (bs, width), of which the first `lengths` (bs,) count, in any order.

        What stands behind a document's length is not read. An empty one counts as one padding token.
        `nudge` (bs, width, emb_sz) is added to the embedded tokens that are pooled.
        """
        lengths = lengths.to(ids.device)
        if not ids.shape[1]:
            ids, nudge = F.pad(ids, (0, 1), value=PAD_ID), None
        if len(lengths) and lengths.max() > ids.shape[1]:
            raise ValueError(f"a length of {lengths.max()} and only {ids.shape[1]} columns of ids")
        pooling = self.arch.pooling
        firsts = lengths.new_tensor([pooling.first_token(size) for size in lengths.tolist()])
        weights = self.encoder.drop_weights() if pooling.shared_mask else None
        state = self._before(ids, firsts, weights)
        n_pooled, order = (lengths.clamp(min=1) - firsts).sort(descending=True, stable=True)
        longest = int(n_pooled[0]) if len(n_pooled) else 0
        places = firsts[order, None] + torch.arange(longest, device=ids.device)
        windows = _windows(ids, order, places).masked_fill(places >= lengths[order, None], PAD_ID)
        nudges = None if nudge is None else _windows(nudge, order, places)
        state = None if state is None else select(state, order)
        return self._read(windows, n_pooled, order, state, weights, nudges)

    @torch.no_grad()
    def _before(
        self, ids: Tensor, firsts: Tensor, weights: tuple[Tensor, ...] | None
    ) -> State | None:
        """Read what comes before the tokens that are pooled, for the state that it leaves; None if nothing does."""
        ends, order = firsts.sort(descending=True, stable=True)
        ids, ends, state = ids[order], ends.tolist(), None
        bptt = self.arch.pooling.bptt
        for start in range(0, max(ends, default=0), bptt):  # all of them end where a chunk does
            n = sum(end > start for end in ends)
            chunk = ids[:n, start : start + bptt]
            before = None if state is None else select(state, slice(n))
            after = self.encoder(chunk, before, weights=weights).state
            state = after if state is None else with_first(state, after)
        return None if state is None else select(resize(state, len(ids)), order.argsort())

    def _read(
        self,
        ids: Tensor,
        lengths: Tensor,
        order: Tensor,
        state: State | None,
        weights: tuple[Tensor, ...] | None,
        nudge: Tensor | None,
    ) -> ClassifierOutput:
        """Read what is pooled, the longest first: the rows that go on are always the first ones."""
        pooling, sizes = self.arch.pooling, lengths.tolist()
        pool = Pool.empty(len(sizes), self.arch.encoder.emb_sz, self.encoder.embedding.weight)
        chunks: list[Tensor] = []
        is_answering = not (self.training or torch.is_grad_enabled())
        shortest = SHORTEST_CHUNK if is_answering else pooling.bptt
        for start, stop in pairwise(chunk_edges(sizes, bptt=pooling.bptt, shortest=shortest)):
            n = sum(size > start for size in sizes)
            encoded: Encoded = self.encoder(
                ids[:n, start:stop],
                None if state is None else select(state, slice(n)),
                weights=weights,
                nudge=None if nudge is None else nudge[:n, start:stop],
            )
            state = detach(encoded.state) if pooling.detach_chunks else encoded.state
            pool = pool.add(encoded.raw, lengths[:n] - start)
            chunks += [encoded.raw] if self.training else []
        back = order.argsort()
        logits = self.head(pool.vectors(lengths)[back])
        return ClassifierOutput(logits, lengths[back], tuple(chunks), order)

    def layer_groups(self) -> list[list[nn.Parameter]]:
        """List the parameters as fastai's `awd_lstm_clas_split` does: embedding, each recurrent layer, head."""
        return [*self.encoder.layer_groups(), list(self.head.parameters())]


def in_units(weights: Mapping[str, Tensor], *, centre: float, spread: float) -> dict[str, Tensor]:
    """Give the weights of a model whose answer is `centre` plus `spread` times that of these: the last layer says so."""
    last = max(int(name.split(".")[2]) for name in weights if name.startswith("head.blocks."))
    weight, bias = (f"head.blocks.{last}.linear.{name}" for name in ("weight", "bias"))
    changed = {weight: spread * weights[weight], bias: centre + spread * weights[bias]}
    return {**weights, **changed}


def chunk_edges(sizes: Sequence[int], *, bptt: int, shortest: int) -> list[int]:
    """Cut every `bptt` tokens, and where documents end, so that none reads on in vain for long.

    For the sake of a document no chunk gets shorter than `shortest`, which may move its cut a little.
    """
    edges, ends = [0], sorted(set(sizes))
    for grid in range(bptt, max(sizes, default=0) + bptt, bptt):
        grid = min(grid, ends[-1])
        for end in ends[bisect(ends, edges[-1]) : bisect(ends, grid - shortest)]:
            cut = max(end, edges[-1] + shortest)
            if edges[-1] < end and cut <= grid - shortest:
                edges.append(cut)
        edges.append(grid)
    return edges


def _windows(values: Tensor, order: Tensor, places: Tensor) -> Tensor:
    """Take what stands in rows `order` (bs,) at `places` (bs, steps); behind the last column, what stands there."""
    return values[order[:, None], places.clamp(max=values.shape[1] - 1)]


def _with_rows(chunk: Tensor, bs: int) -> Tensor:
    """Add rows of zeros for documents that are over."""
    return F.pad(chunk, (0, 0, 0, 0, 0, bs - len(chunk)))
