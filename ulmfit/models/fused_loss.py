"""Decoder and cross entropy in one step, some tokens at a time: the logits never exist at once.

A batch of 64 x 72 tokens and 60,000 words has 1.1 GB of logits, and the usual loss keeps three copies.
Here a few hundred tokens share a buffer that the next ones use again; the gradients are taken while the
logits are there. Products run in the chosen format and add up in float32, everything else is float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ulmfit.models.precision import Precision, product_dtype
from ulmfit.models.softmax import Truth, softmax_

CHUNK_ELEMENTS = 1 << 25  # of logits that exist at once: 64 MB in bfloat16
TILE_WORDS = 4096  # of the weight's gradient that are added up at once, to stay in the cache


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
    Gradients are made in the forward pass, for losses that count alike, as in a mean or a sum; if they
    turn out not to, the backward pass computes the logits once more.
    """
    flat = hidden.reshape(-1, hidden.shape[-1]).float()
    words = targets.reshape(-1).long()
    if (
        words.device.type == "cpu"
        and len(words)
        and not 0 <= words.min() <= words.max() < len(weight)
    ):
        raise IndexError(f"targets from {words.min()} to {words.max()} of {len(weight)} words")
    decoder = _Decoder(
        Truth(words, smoothing),
        product_dtype(weight, precision, n_uses=targets.numel()),
        with_hits,
    )
    with torch.autocast(weight.device.type, enabled=False):
        losses, best = _LinearCrossEntropy.apply(
            flat, weight, bias, decoder, torch.is_grad_enabled()
        )
    hits = (best == words).view(targets.shape) if with_hits else None
    return TokenLosses(losses.view(targets.shape), hits)


@dataclass(frozen=True)
class _Decoder:
    """How to multiply, and what should come out."""

    truth: Truth
    dtype: torch.dtype
    with_best: bool


@dataclass(frozen=True)
class _Gradients:
    """Of the sum of all losses; None where nobody asks."""

    hidden: Tensor | None  # (tokens, emb_sz)
    weight: Tensor | None  # (words, emb_sz)
    bias: Tensor | None  # (words,)

    def scaled_(self, factor: Tensor) -> tuple[Tensor | None, ...]:
        """Give all three, times a number."""
        if factor != 1:
            for part in (self.hidden, self.weight, self.bias):
                if part is not None:
                    part *= factor
        return self.hidden, self.weight, self.bias


@dataclass(frozen=True)
class _Result:
    log_sums: Tensor  # (tokens,)
    best: Tensor | None
    gradients: _Gradients


def _run(
    parts: tuple[Tensor, Tensor, Tensor | None],
    decoder: _Decoder,
    wanted: tuple[bool, ...],
    shares: Tensor | None = None,
) -> _Result:
    """Go through the tokens; `shares` (tokens,) say how much each loss counts, 1 by default."""
    hidden, weight, bias = parts
    low, low_weight = hidden.to(decoder.dtype), weight.to(decoder.dtype)
    counted = low if shares is None else (hidden * shares.unsqueeze(1)).to(decoder.dtype)
    counts = low.new_ones(1, len(low)) if shares is None else shares.to(low.dtype).unsqueeze(0)
    zeros = (
        torch.zeros_like(part) if is_wanted and part is not None else None
        for part, is_wanted in zip(parts, wanted)
    )
    gradients = _Gradients(*zeros)
    log_sums = hidden.new_empty(len(hidden))
    best = torch.empty_like(decoder.truth.words) if decoder.with_best else None
    for tokens, logits in _buffers(low, len(weight)):
        torch.mm(low[tokens], low_weight.t(), out=logits)
        found = softmax_(
            logits,
            bias,
            Truth(decoder.truth.words[tokens], decoder.truth.smoothing),
            with_best=decoder.with_best,
            with_gradient=any(wanted),
        )
        log_sums[tokens] = found.log_sum
        if best is not None and found.best is not None:
            best[tokens] = found.best
        if gradients.hidden is not None:
            gradients.hidden[tokens] = logits @ low_weight
        if gradients.weight is not None:
            _add_product(gradients.weight, counted[tokens], logits)
        if gradients.bias is not None:
            gradients.bias.add_((counts[:, tokens] @ logits)[0])
    if gradients.hidden is not None and shares is not None:
        gradients.hidden.mul_(shares.unsqueeze(1))
    return _Result(log_sums, best, gradients)


def _buffers(low: Tensor, n_words: int) -> Iterator[tuple[slice, Tensor]]:
    """Cut the tokens into chunks of like size, each with the same memory for its logits."""
    n_tokens = len(low)
    n_chunks = max(1, -(-n_tokens * n_words // CHUNK_ELEMENTS))
    size = max(1, -(-n_tokens // n_chunks))
    memory = low.new_empty(size, n_words)
    for first in range(0, n_tokens, size):
        tokens = slice(first, min(first + size, n_tokens))
        yield tokens, memory[: tokens.stop - first]


def _add_product(total: Tensor, hidden: Tensor, d_logits: Tensor) -> None:
    """Add d_logits.T @ hidden to the weight's gradient, some words at a time."""
    for first in range(0, len(total), TILE_WORDS):
        words = slice(first, first + TILE_WORDS)
        total[words] += d_logits[:, words].t() @ hidden


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        decoder: _Decoder,
        is_training: bool,
    ) -> tuple[Tensor, Tensor | None]:
        wanted = tuple(is_training and asks for asks in ctx.needs_input_grad[:3])
        result = _run((hidden, weight, bias), decoder, wanted)
        words, smoothing = decoder.truth.words, decoder.truth.smoothing
        truth = (hidden * weight[words]).sum(dim=1)
        if bias is not None:
            truth += bias[words]
        if smoothing:  # the mean logit needs no softmax: it is the logit of the mean word
            mean = hidden @ weight.mean(dim=0) + (0 if bias is None else bias.mean())
            truth = (1 - smoothing) * truth + smoothing * mean
        ctx.save_for_backward(hidden, weight, bias)
        ctx.decoder, ctx.gradients = decoder, result.gradients
        if result.best is not None:
            ctx.mark_non_differentiable(result.best)
        return result.log_sums - truth, result.best

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_losses: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
        scale = d_losses[:1].sum()
        shares = None
        if not (d_losses == scale).all():
            scale = d_losses.abs().max()
            shares = d_losses / scale
        gradients: _Gradients | None = ctx.gradients
        if gradients is None or shares is not None:  # they count otherwise, or were given away
            gradients = _run(ctx.saved_tensors, ctx.decoder, ctx.needs_input_grad, shares).gradients
        ctx.gradients = None
        return *gradients.scaled_(scale), None, None
