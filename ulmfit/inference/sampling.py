"""Logits of the next token -> the id that is drawn. Pure functions: what is random comes from the generator given.

A filter takes logits (..., n_vocab) and sets those that are out to minus infinity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ulmfit.errors import UserError


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen: the temperature first, then the filters, in the order of the fields."""

    temperature: float = 1.0
    """Below 1 likely tokens become likelier; 0 always takes the likeliest."""
    top_k: int | None = None
    """Keep the k likeliest tokens."""
    top_p: float | None = None
    """Keep the likeliest tokens that together reach this probability (Holtzman et al. 2020)."""
    min_p: float | None = None
    """Keep tokens at least this share as probable as the likeliest one."""

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:
            raise UserError(f"--temperature is {self.temperature}; allowed: 0 or more, and finite")
        if self.top_k is not None and self.top_k < 1:
            raise UserError(f"--top-k is {self.top_k}; allowed: 1 or more")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise UserError(f"--top-p is {self.top_p}; allowed: above 0, up to 1")
        if self.min_p is not None and not 0 <= self.min_p <= 1:
            raise UserError(f"--min-p is {self.min_p}; allowed: 0 to 1")

    def probabilities(self, logits: Tensor) -> Tensor:
        """Give each token's probability of being drawn, as float64."""
        logits = logits.double()
        if self.temperature == 0:
            likeliest = logits.argmax(-1, keepdim=True)
            return torch.zeros_like(logits).scatter_(-1, likeliest, 1.0)
        logits = at_temperature(logits, self.temperature)
        if self.top_k is not None:
            logits = keep_top_k(logits, self.top_k)
        if self.top_p is not None:
            logits = keep_top_p(logits, self.top_p)
        if self.min_p is not None:
            logits = keep_min_p(logits, self.min_p)
        return logits.softmax(-1)

    def draw(self, logits: Tensor, generator: torch.Generator) -> int:
        """Draw one id from the logits (n_vocab,) of one place."""
        return int(torch.multinomial(self.probabilities(logits), 1, generator=generator))


def new_generator(seed: int | None) -> torch.Generator:
    """Make a random generator of its own; without a seed, one that nobody can repeat."""
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    elif 0 <= seed < 2**64:
        generator.manual_seed(seed)
    else:
        raise UserError(f"--seed is {seed}; allowed: 0 to 2**64 - 1")
    return generator


def at_temperature(logits: Tensor, temperature: float) -> Tensor:
    """Divide by the temperature; the best logit becomes 0 first, so that no division overflows to NaN."""
    return (logits - logits.amax(-1, keepdim=True)) / temperature


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """Keep the `k` highest logits, and those that equal the lowest of them."""
    lowest = logits.topk(min(k, logits.shape[-1]), dim=-1).values[..., -1:]
    return logits.masked_fill(logits < lowest, -torch.inf)


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """Keep the smallest set of likeliest tokens whose probabilities add up to `p` or more."""
    probabilities, order = torch.sort(logits.softmax(-1), dim=-1, descending=True, stable=True)
    before = probabilities.cumsum(-1) - probabilities
    # Summed up to rounding errors, everything may seem to reach 1 before its end.
    is_out = before >= (p if p < 1 else torch.inf)
    return logits.masked_fill(torch.zeros_like(is_out).scatter_(-1, order, is_out), -torch.inf)


def keep_min_p(logits: Tensor, p: float) -> Tensor:
    """Keep tokens whose probability is at least `p` times that of the likeliest."""
    relative = (logits - logits.amax(-1, keepdim=True)).exp()
    return logits.masked_fill(relative < p, -torch.inf)
