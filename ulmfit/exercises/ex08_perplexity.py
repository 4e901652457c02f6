"""Exercise 8: losses of batches -> the perplexity of the whole text."""

from __future__ import annotations

import math
from random import Random

from ulmfit.exercises.exercise import Exercise, Wrong


def perplexity(losses: list[float], n_tokens: list[int]) -> float:
    """Give the perplexity of a text read in batches: mean loss and number of tokens of each."""
    nll, tokens = 0.0, 0
    for loss, n in zip(losses, n_tokens):
        for _ in range(n):  # as if every token had been seen by itself
            nll += loss
            tokens += 1
    return math.exp(nll / tokens)


def _solution(losses: list[float], n_tokens: list[int]) -> float:
    import numpy as np

    return float(np.exp(np.average(losses, weights=n_tokens)))


def _make(random: Random, size: int) -> tuple[list[float], list[int]]:
    losses = [random.randint(2, 24) / 4 for _ in range(size)]
    return losses, [random.randint(1, 2 + 3 * size) for _ in range(size)]


def _unweighted(losses: list[float], n_tokens: list[int]) -> float:
    return math.exp(sum(losses) / len(losses))


def _mean_perplexity(losses: list[float], n_tokens: list[int]) -> float:
    return sum(map(math.exp, losses)) / len(losses)


def _weighted_perplexity(losses: list[float], n_tokens: list[int]) -> float:
    return sum(math.exp(loss) * n for loss, n in zip(losses, n_tokens)) / sum(n_tokens)


def _only_loss(losses: list[float], n_tokens: list[int]) -> float:
    return sum(loss * n for loss, n in zip(losses, n_tokens)) / sum(n_tokens)


def _only_mean(losses: list[float], n_tokens: list[int]) -> float:
    return sum(losses) / len(losses)


def _base_two(losses: list[float], n_tokens: list[int]) -> float:
    return 2 ** _only_loss(losses, n_tokens)


def _sum_by_tokens(losses: list[float], n_tokens: list[int]) -> float:
    return math.exp(sum(losses) / sum(n_tokens))


def _last_batch(losses: list[float], n_tokens: list[int]) -> float:
    return math.exp(losses[-1])


PERPLEXITY = Exercise(
    title="Perplexity",
    task="""\
Perplexity is `exp` of the cross-entropy, the mean of -log p(token) over **all tokens** of a text: among how many equally
likely tokens the model seems to choose.

The text was read in batches. `losses[i]` is the mean loss (natural logarithm) of batch i, which has `n_tokens[i]` tokens.
Batches differ in size: the last one is often small. Return the perplexity of the whole text.""",
    spec=perplexity,
    make=_make,
    hint="add up losses[i] * n_tokens[i], divide by all tokens, and take exp once, at the end.",
    wrong=(
        Wrong(
            _unweighted,
            "you average the batches as if they were equally large. A small last batch then counts as much as a full "
            "one: weigh each loss by its tokens.",
        ),
        Wrong(
            _mean_perplexity,
            "you average perplexities, and without the sizes of the batches. Average the losses over tokens first, take exp last.",
        ),
        Wrong(
            _weighted_perplexity,
            "you weigh by tokens, but average perplexities: the mean of exponentials is larger than the exponential of "
            "the mean. Average the losses, take exp last.",
        ),
        Wrong(_only_loss, "that is the cross-entropy: perplexity is exp of it."),
        Wrong(
            _only_mean,
            "that is a mean of losses: weigh them by tokens, and take exp of the result.",
        ),
        Wrong(
            _base_two,
            "you take 2 to the power of the loss. These losses are in natural logarithms: take exp.",
        ),
        Wrong(
            _sum_by_tokens,
            "you divide a sum of batch means by the tokens: multiply each mean by its batch's tokens first.",
        ),
        Wrong(_last_batch, "that is the perplexity of the last batch alone: add all of them up."),
    ),
    solution=_solution,
    home="ulmfit/training/metrics.py",
)
