"""Metrics from sums over tokens or documents: each counts the same in any batch.

In: losses and hits of batches of any size. Out: one number for each name in METRICS. fastai
weights by rows instead, so that a short last batch of tokens counts as much as a full one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class TokenSums:
    """Sums over the tokens seen so far; `a + b` counts both."""

    nll: float = 0.0
    """Negative log-likelihood in nats."""
    hits: int = 0
    """Tokens that were the likeliest."""
    tokens: int = 0
    characters: int = 0
    """Characters of the text that the tokens spell; 0 if nobody counted them."""

    def __add__(self, other: TokenSums) -> TokenSums:
        return TokenSums(
            self.nll + other.nll,
            self.hits + other.hits,
            self.tokens + other.tokens,
            self.characters + other.characters,
        )


@dataclass(frozen=True)
class DocumentSums:
    """Sums over the documents seen so far."""

    loss: float = 0.0
    hits: int = 0
    """Documents that were answered right; none where labels are numbers."""
    documents: int = 0

    def __add__(self, other: DocumentSums) -> DocumentSums:
        return DocumentSums(
            self.loss + other.loss, self.hits + other.hits, self.documents + other.documents
        )


@dataclass(frozen=True)
class Measured:
    """What is known at the end of an epoch; NaN where it makes no sense."""

    valid_loss: float
    accuracy: float
    perplexity: float = math.nan
    bits_per_character: float = math.nan


def loss(sums: TokenSums) -> float:
    """Average the negative log-likelihood over the tokens."""
    return sums.nll / sums.tokens if sums.tokens else math.nan


def accuracy(sums: TokenSums) -> float:
    """Give the share of tokens that were the likeliest."""
    return sums.hits / sums.tokens if sums.tokens else math.nan


def perplexity(sums: TokenSums) -> float:
    """Give exp(loss): comparable only between models with the same tokens and vocabulary."""
    mean = loss(sums)
    return math.exp(mean) if not mean > 700 else math.inf  # exp(710) is no float any more


def bits_per_character(sums: TokenSums) -> float:
    """Give the bits spent on a character of the text: comparable between tokenizers."""
    return sums.nll / (math.log(2) * sums.characters) if sums.characters else math.nan


METRICS: dict[str, Callable[[TokenSums], float]] = {
    "loss": loss,
    "accuracy": accuracy,
    "perplexity": perplexity,
    "bits_per_character": bits_per_character,
}

DOCUMENT_METRICS: dict[str, Callable[[DocumentSums], float]] = {
    "loss": lambda sums: sums.loss / sums.documents if sums.documents else math.nan,
    "accuracy": lambda sums: sums.hits / sums.documents if sums.documents else math.nan,
}
