"""Metrics of a language model against loops over single tokens, and against fastai's weighting by rows."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from fastai.learner import AvgLoss
from hypothesis import given
from hypothesis import strategies as st

from ulmfit.training.metrics import METRICS, TokenSums

# Batches of tokens: the loss of each, whether it was hit, and the characters it spells.
tokens = st.tuples(st.floats(0, 20), st.booleans(), st.integers(1, 12))
batches = st.lists(st.lists(tokens, min_size=1, max_size=9), min_size=1, max_size=6)


def sums_of(batch: list[tuple[float, bool, int]]) -> TokenSums:
    losses, hits, characters = zip(*batch)
    return TokenSums(sum(losses), sum(hits), len(batch), sum(characters))


@given(batches)
def test_metrics_of_unequal_batches_are_those_of_all_tokens(
    seen: list[list[tuple[float, bool, int]]],
) -> None:
    total = sum(map(sums_of, seen), TokenSums())
    flat = [token for batch in seen for token in batch]
    likelihood = math.prod(math.exp(-loss / len(flat)) for loss, _, _ in flat)
    bits = sum(-math.log2(math.exp(-loss)) for loss, _, _ in flat)
    expected = {
        "loss": -math.log(likelihood),
        "accuracy": [hit for _, hit, _ in flat].count(True) / len(flat),
        "perplexity": 1 / likelihood,
        "bits_per_character": bits / sum(n for _, _, n in flat),
    }
    assert set(expected) == set(METRICS)
    for name, value in expected.items():
        assert METRICS[name](total) == pytest.approx(value, rel=1e-6, abs=1e-9), name


@given(st.integers(2, 500), st.integers(1, 2000))
def test_a_model_that_knows_nothing(n_vocab: int, n_tokens: int) -> None:
    """Uniform over n words: perplexity n; over letters, log2(n) bits each."""
    sums = TokenSums(n_tokens * math.log(n_vocab), 0, n_tokens, n_tokens)
    assert METRICS["perplexity"](sums) == pytest.approx(n_vocab)
    assert METRICS["bits_per_character"](sums) == pytest.approx(math.log2(n_vocab))


def test_bits_per_character_compare_tokenizers_and_perplexity_does_not() -> None:
    """The same probability of the same text, cut into 10 words or 40 pieces."""
    words, pieces = TokenSums(60.0, 0, 10, 50), TokenSums(60.0, 0, 40, 50)
    assert METRICS["bits_per_character"](words) == METRICS["bits_per_character"](pieces)
    assert METRICS["perplexity"](words) > 50 * METRICS["perplexity"](pieces)


def test_fastai_counts_a_short_last_batch_like_a_full_one() -> None:
    """Two batches of 4 rows, 70 tokens long and 2 long: by rows the second weighs half, by tokens 1/36."""
    stock, ours = AvgLoss(), TokenSums()
    stock.reset()
    for seq_len, loss in ((70, 4.0), (2, 8.0)):
        labels = torch.zeros(4, seq_len)
        stock.accumulate(
            SimpleNamespace(yb=(labels,), loss=torch.tensor(loss), to_detach=lambda x: x)
        )
        ours += TokenSums(loss * labels.numel(), 0, labels.numel(), 0)
    assert float(stock.value) == pytest.approx(6.0)
    assert METRICS["loss"](ours) == pytest.approx((4 * 70 + 8 * 2) / 72)


@pytest.mark.parametrize("name", METRICS)
def test_nothing_seen_is_not_a_number(name: str) -> None:
    assert math.isnan(METRICS[name](TokenSums()))


def test_a_diverged_model_has_an_infinite_perplexity() -> None:
    assert METRICS["perplexity"](TokenSums(nll=1e4, tokens=1)) == math.inf
    assert math.isnan(METRICS["perplexity"](TokenSums(nll=math.nan, tokens=1)))
