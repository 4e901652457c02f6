"""Concat pooling (Howard & Ruder 2018, 3.3) as running values: chunks of hidden states in, [last, max, mean] out.

Masks come from true lengths. Memory is that of one vector a document, however long it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Pool:
    """What has been seen of each document so far; documents come longest first."""

    last: Tensor  # (bs, units)
    highest: Tensor  # (bs, units)
    total: Tensor  # (bs, units)

    @classmethod
    def empty(cls, bs: int, n_units: int, like: Tensor) -> Pool:
        """Begin with nothing seen, on the device and in the format of `like`."""
        zeros = like.new_zeros(bs, n_units)
        return cls(zeros, torch.full_like(zeros, -torch.inf), zeros)

    def add(self, hidden: Tensor, n_left: Tensor) -> Pool:
        """Take in the next chunk (n, steps, units) of the first n documents.

        `n_left` (n,) counts the tokens from the chunk's first one to the document's end, at least one.
        """
        n, steps, _ = hidden.shape
        step = torch.arange(steps, device=hidden.device)
        is_out = (step >= n_left[:, None]).unsqueeze(2)  # (n, steps, 1)
        # A document's last chunk comes last, so what stands here in the end is its last token.
        last = hidden[torch.arange(n, device=hidden.device), n_left.clamp(max=steps) - 1]
        highest = hidden.masked_fill(is_out, -torch.inf).amax(1)
        total = hidden.masked_fill(is_out, 0.0).sum(1)
        return Pool(
            torch.cat([last, self.last[n:]]),
            torch.cat([torch.maximum(self.highest[:n], highest), self.highest[n:]]),
            torch.cat([self.total[:n] + total, self.total[n:]]),
        )

    def vectors(self, n_pooled: Tensor) -> Tensor:
        """Give (bs, 3 * units), where `n_pooled` (bs,) tokens of each document were counted."""
        mean = self.total / n_pooled[:, None]
        return torch.cat([self.last, self.highest, mean], dim=1)
