"""The dropouts of the AWD-LSTM (Merity et al. 2018, 4) as functions of a tensor and a probability.

A probability of 0 returns the tensor as it is; whether a model is training is the caller's business.
Random numbers come from the given generator or torch's own, so the same seed gives the same bits.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

LEVELS = 1 << 16  # of a 16-bit random number


def keep_mask(
    shape: tuple[int, ...],
    p: float,
    *,
    device: torch.device | str = "cpu",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw a boolean mask that is False with probability `p`, to the nearest 1/65536 on a CPU.

    There a Bernoulli variable for each element costs more than the matrix product that uses it,
    so four elements share one raw 64-bit random number.
    """
    device = torch.device(device)
    if device.type != "cpu":
        return torch.rand(shape, device=device, generator=generator) >= p
    size = torch.Size(shape).numel()
    words = torch.empty((size + 3) // 4, dtype=torch.int64).random_(
        -(2**63), None, generator=generator
    )
    return (words.view(torch.int16)[:size] >= _dropped_levels(p) - LEVELS // 2).view(shape)


def keep_scale(p: float, device: torch.device | str = "cpu") -> float:
    """Give the factor that makes up for what `keep_mask` drops on average."""
    is_drawn_in_levels = torch.device(device).type == "cpu"
    return LEVELS / (LEVELS - _dropped_levels(p)) if is_drawn_in_levels else 1 / (1 - p)


def locked_dropout(x: Tensor, p: float, *, generator: torch.Generator | None = None) -> Tensor:
    """Drop units of `x` (seq_len, bs, units), the same ones at each step (Gal & Ghahramani 2016)."""
    if p == 0:
        return x
    keep = keep_mask((1, *x.shape[1:]), p, device=x.device, generator=generator)
    return x * keep.to(x.dtype).mul_(keep_scale(p, x.device))


def embedding_dropout(
    ids: Tensor,
    weight: Tensor,
    p: float,
    *,
    pad_id: int | None = None,
    is_sparse: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Embed `ids`, dropping words of the vocabulary: all of their occurrences or none.

    Only the rows that are read are scaled, not the whole matrix. With `is_sparse`, the gradient of
    `weight` holds those rows only.
    """
    embedded = F.embedding(ids, weight, padding_idx=pad_id, sparse=is_sparse)
    if p == 0:
        return embedded
    keep = keep_mask((weight.shape[0],), p, device=weight.device, generator=generator)
    scale = keep.to(weight.dtype).mul_(keep_scale(p, weight.device))
    return embedded * scale[ids].unsqueeze(-1)


def weight_drop(weight: Tensor, p: float, *, generator: torch.Generator | None = None) -> Tensor:
    """Drop single weights (DropConnect, Wan et al. 2013); the result is a new tensor, `weight` stays."""
    if p == 0:
        return weight
    keep = keep_mask(tuple(weight.shape), p, device=weight.device, generator=generator)
    return weight.mul(keep).mul_(keep_scale(p, weight.device))


def _dropped_levels(p: float) -> int:
    return min(round(p * LEVELS), LEVELS - 1)
