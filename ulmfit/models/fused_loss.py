"""Decoder and cross entropy in one step, over tiles of the vocabulary: the logits never exist at once.

A batch of 64 x 72 tokens and 60,000 words has 1.1 GB of logits, and the usual loss keeps three copies.
Here a tile of some thousand words lives in a buffer that every tile uses again; the backward pass
computes the tiles once more. Products run in the chosen format, everything else in float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ulmfit.models.precision import Precision, product_dtype

TILE_ELEMENTS = 1 << 23  # of logits in a tile: 50 MB of buffers; fewer wait longer for busy threads
TILE_WORDS = (512, 8192)  # bounds of a tile, whatever the number of tokens


@dataclass(frozen=True)
class TokenLosses:
    """The loss of each token, and whether the likeliest word was the right one if that was asked for."""

    losses: Tensor
    hits: Tensor | None = None

    def mean(self) -> Tensor:
        """Average over all tokens."""
        return self.losses.mean()


def linear_cross_entropy(
    hidden: Tensor,
    targets: Tensor,
    *,
    weight: Tensor,
    bias: Tensor | None = None,
    smoothing: float = 0.0,
    precision: Precision = "auto",
    with_hits: bool = False,
) -> TokenLosses:
    """Score `targets` (any shape) under softmax(hidden @ weight.T + bias), hidden (*shape, emb_sz).

    `smoothing` spreads that share of the truth evenly over the vocabulary, as in torch's own loss.
    """
    dtype = product_dtype(weight, precision, n_uses=targets.numel())
    flat = hidden.reshape(-1, hidden.shape[-1]).float()
    with torch.autocast(weight.device.type, enabled=False):
        losses, best = _LinearCrossEntropy.apply(
            flat, weight, bias, targets.reshape(-1), smoothing, dtype, with_hits
        )
    hits = (best == targets.reshape(-1)).view(targets.shape) if with_hits else None
    return TokenLosses(losses.view(targets.shape), hits)


@dataclass(frozen=True)
class _Tile:
    """Some words of the vocabulary and their logits for all tokens, in buffers that are used again."""

    first: int
    weight: Tensor  # (words, emb_sz) in the products' format
    logits: Tensor  # (tokens, words) fp32
    products: Tensor  # (tokens, words) in the products' format; the same memory where that is fp32


def _tiles(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Iterator[_Tile]:
    """Compute the logits tile by tile; `hidden` is in the products' format already."""
    n_tokens, n_vocab, dtype = len(hidden), len(weight), hidden.dtype
    low, high = TILE_WORDS
    width = min(n_vocab, max(low, min(high, TILE_ELEMENTS // max(1, n_tokens))))
    fp32 = hidden.new_empty(n_tokens * width, dtype=torch.float32)
    native = fp32 if dtype == torch.float32 else hidden.new_empty(n_tokens * width)
    for first in range(0, n_vocab, width):
        part = weight[first : first + width].to(dtype)
        products, logits = (b[: n_tokens * len(part)].view(n_tokens, -1) for b in (native, fp32))
        torch.mm(hidden, part.t().contiguous(), out=products)
        if products.dtype != logits.dtype:
            logits.copy_(products)
        if bias is not None:
            logits += bias[first : first + width]
        yield _Tile(first, part, logits, products)


def _log_normaliser(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, *, with_best: bool
) -> tuple[Tensor, Tensor | None]:
    """Give each token's log of the sum of exponentials and, if asked, its likeliest word."""
    total = hidden.new_zeros(len(hidden), dtype=torch.float32)  # relative to exp(top)
    top = torch.full_like(total, -torch.inf)
    best = torch.zeros_like(total, dtype=torch.int64) if with_best else None
    for tile in _tiles(hidden, weight, bias):
        if best is None:
            highest = tile.logits.amax(dim=1)
        else:
            highest, place = tile.logits.max(dim=1)
            torch.where(highest > top, place + tile.first, best, out=best)
        new_top = torch.maximum(top, highest)
        total *= (top - new_top).exp_()
        total += tile.logits.sub_(new_top.unsqueeze(1)).exp_().sum(dim=1)
        top = new_top
    return total.log_().add_(top), best


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        smoothing: float,
        dtype: torch.dtype,
        with_best: bool,
    ) -> tuple[Tensor, Tensor | None]:
        log_normaliser, best = _log_normaliser(hidden.to(dtype), weight, bias, with_best=with_best)
        truth = (hidden * weight[targets]).sum(dim=1)
        if bias is not None:
            truth += bias[targets]
        if smoothing:  # the mean logit needs no tiles: it is the logit of the mean word
            mean = hidden @ weight.mean(dim=0) + (0 if bias is None else bias.mean())
            truth = (1 - smoothing) * truth + smoothing * mean
        ctx.save_for_backward(hidden, weight, bias, targets, log_normaliser)
        ctx.smoothing, ctx.dtype = smoothing, dtype
        if best is not None:
            ctx.mark_non_differentiable(best)
        return log_normaliser - truth, best

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_losses: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, targets, log_normaliser = ctx.saved_tensors
        low = hidden.to(ctx.dtype)
        columns = low.t().contiguous()  # (emb_sz, tokens)
        d_hidden = torch.zeros_like(hidden)
        d_weight = torch.empty_like(weight) if ctx.needs_input_grad[1] else None
        d_bias = None if bias is None else torch.empty_like(bias)
        scale = d_losses.float().unsqueeze(1)  # (tokens, 1)
        for tile in _tiles(low, weight, bias):
            d_logits = tile.logits.sub_(log_normaliser.unsqueeze(1)).exp_()
            if ctx.smoothing:
                d_logits -= ctx.smoothing / len(weight)
            _subtract_truth(d_logits, targets - tile.first, 1 - ctx.smoothing)
            words = slice(tile.first, tile.first + len(tile.weight))
            products = tile.products.copy_(d_logits.mul_(scale))
            d_hidden += products @ tile.weight
            if d_weight is not None:
                d_weight[words] = (columns @ products).t()
            if d_bias is not None:
                d_bias[words] = d_logits.sum(dim=0)
        return d_hidden, d_weight, d_bias, None, None, None, None


def _subtract_truth(d_logits: Tensor, places: Tensor, share: float) -> None:
    """Subtract `share` at each token's true word, where this tile has it."""
    rows = ((places >= 0) & (places < d_logits.shape[1])).nonzero().squeeze(1)
    d_logits[rows, places[rows]] -= share
