"""Softmax over rows of logits that lie in one buffer: the normaliser, then the gradient in their place.

In: logits (tokens, words) in any format and a bias. Out: float32 normalisers, and the buffer with the
gradient of each token's cross entropy in the logits' format. Compiled for bfloat16 on a CPU, else torch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ulmfit.models.native import Kernels, kernels

BLOCK_ELEMENTS = 1 << 19  # of logits in float32 at a time on a CPU: 2 MB, which stays in its cache


@dataclass(frozen=True)
class Truth:
    """What the softmax should have been: the true words, with a share spread over all of them."""

    words: Tensor  # (tokens,)
    smoothing: float


@dataclass(frozen=True)
class Normaliser:
    """Each token's log of the sum of exponentials and, if that was asked for, its likeliest word."""

    log_sum: Tensor  # (tokens,)
    best: Tensor | None


def softmax_(
    logits: Tensor, bias: Tensor | None, truth: Truth, *, with_best: bool, with_gradient: bool
) -> Normaliser:
    """Normalise `logits` + `bias`; `with_gradient` puts softmax minus truth where the logits were.

    Without it the logits are left as garbage.
    """
    native = kernels() if logits.device.type == "cpu" and logits.dtype == torch.bfloat16 else None
    if native is not None:
        return _compiled(native, logits, bias, truth, with_best, with_gradient)
    n_tokens, n_words = logits.shape
    n_rows = max(1, BLOCK_ELEMENTS // n_words) if logits.device.type == "cpu" else n_tokens
    parts = [
        _block(rows, bias, Truth(words, truth.smoothing), with_best, with_gradient)
        for rows, words in zip(logits.split(n_rows), truth.words.split(n_rows))
    ]
    best = [part.best for part in parts if part.best is not None]
    return Normaliser(torch.cat([p.log_sum for p in parts]), torch.cat(best) if best else None)


def _compiled(
    native: Kernels,
    logits: Tensor,
    bias: Tensor | None,
    truth: Truth,
    with_best: bool,
    with_gradient: bool,
) -> Normaliser:
    n_tokens, n_words = logits.shape
    bias = torch.zeros(n_words, dtype=torch.float32) if bias is None else bias.float().contiguous()
    top, total = torch.empty(2, n_tokens, dtype=torch.float32)
    best = torch.empty(n_tokens, dtype=torch.int64) if with_best else None
    native.softmax_sums(logits, bias, top=top, total=total, best=best)
    if with_gradient:
        native.softmax_gradients(
            logits,
            bias,
            top=top,
            total=total,
            truth=truth.words.contiguous(),
            floor=truth.smoothing / n_words,
            peak=1 - truth.smoothing,
        )
    return Normaliser(total.log_().add_(top), best)


def _block(
    rows: Tensor, bias: Tensor | None, truth: Truth, with_best: bool, with_gradient: bool
) -> Normaliser:
    x = rows.float()
    if bias is not None:
        x += bias
    top, best = x.max(dim=1) if with_best else (x.amax(dim=1), None)
    total = x.sub_(top.unsqueeze(1)).exp_().sum(dim=1)
    if with_gradient:
        x.div_(total.unsqueeze(1))
        if truth.smoothing:
            x -= truth.smoothing / x.shape[1]
        places = truth.words.unsqueeze(1)
        x.scatter_add_(1, places, x.new_full((1, 1), truth.smoothing - 1).expand(places.shape))
        rows.copy_(x)
    return Normaliser(total.log_().add_(top), best)
