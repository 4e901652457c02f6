"""Choosing the next token: filters against their definitions, draws against the probabilities."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ulmfit.errors import UserError
from ulmfit.inference.sampling import (
    Sampling,
    at_temperature,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    new_generator,
)

RELAXED = settings(deadline=None)  # a first call may load code
LOGITS = st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=40)


def kept(filtered: torch.Tensor) -> set[int]:
    return set((filtered > -math.inf).nonzero()[:, 0].tolist())


def softmax(logits: list[float]) -> list[float]:
    top = max(logits)
    total = sum(math.exp(x - top) for x in logits)
    return [math.exp(x - top) / total for x in logits]


@RELAXED
@given(LOGITS, st.floats(0.05, 10))
def test_temperature_is_a_power_of_the_probabilities(logits: list[float], t: float) -> None:
    powers = [p ** (1 / t) for p in softmax(logits)]
    if sum(powers) < 1e-200:
        return
    expected = [p / sum(powers) for p in powers]
    got = Sampling(temperature=t).probabilities(torch.tensor(logits))
    assert got.tolist() == pytest.approx(expected, abs=1e-9)


@RELAXED
@given(LOGITS, st.integers(1, 50))
def test_top_k_keeps_the_k_best_and_their_equals(logits: list[float], k: int) -> None:
    lowest = sorted(logits, reverse=True)[:k][-1]
    expected = {i for i, x in enumerate(logits) if x >= lowest}
    assert kept(keep_top_k(torch.tensor(logits), k)) == expected


@RELAXED
@given(LOGITS, st.floats(0.001, 1))
def test_top_p_keeps_the_smallest_set_that_reaches_p(logits: list[float], p: float) -> None:
    probabilities = softmax(logits)
    found = kept(keep_top_p(torch.tensor(logits, dtype=torch.float64), p))
    mass = sum(probabilities[i] for i in found)
    assert mass >= p - 1e-9
    assert mass - min(probabilities[i] for i in found) < p + 1e-9
    others = [p for i, p in enumerate(probabilities) if i not in found]
    assert max(others, default=0) <= min(probabilities[i] for i in found) + 1e-12


def test_top_p_of_one_keeps_everything() -> None:
    logits = torch.cat([torch.zeros(1), torch.full((1000,), -40.0)]).double()
    assert len(kept(keep_top_p(logits, 1.0))) == 1001
    assert kept(keep_top_p(logits, 0.5)) == {0}


@RELAXED
@given(LOGITS, st.floats(0, 1))
def test_min_p_compares_with_the_best(logits: list[float], p: float) -> None:
    probabilities = softmax(logits)
    found = kept(keep_min_p(torch.tensor(logits, dtype=torch.float64), p))
    for i, probability in enumerate(probabilities):
        margin = probability / max(probabilities) - p
        assert abs(margin) < 1e-9 or (i in found) == (margin > 0)


@RELAXED
@given(st.lists(LOGITS.filter(lambda x: len(x) > 3).map(lambda x: x[:4]), min_size=2, max_size=5))
def test_filters_treat_every_row_by_itself(rows: list[list[float]]) -> None:
    together = torch.tensor(rows)
    for sampling in (Sampling(0), Sampling(0.7, 2), Sampling(top_p=0.6), Sampling(min_p=0.3)):
        alone = torch.stack([sampling.probabilities(row) for row in together])
        torch.testing.assert_close(sampling.probabilities(together), alone)


@RELAXED
@given(LOGITS)
def test_zero_is_greedy_and_almost_zero_too(logits: list[float]) -> None:
    best = max(logits)
    assert logits[Sampling(0).draw(torch.tensor(logits), new_generator(0))] == best
    cold = at_temperature(torch.tensor(logits, dtype=torch.float64), 1e-320)
    assert kept(cold.softmax(-1).log()) == {i for i, x in enumerate(logits) if x == best}


def test_draws_follow_the_probabilities() -> None:
    logits = torch.tensor([0.0, 1.0, 2.0, 3.0, -torch.inf])
    generator, n = new_generator(3), 6_000
    draws = torch.tensor([Sampling(top_k=3).draw(logits, generator) for _ in range(n)])
    found = torch.bincount(draws, minlength=5) / n
    assert found[0] == found[4] == 0
    # 5 standard deviations of a share are at most 5 * sqrt(.25 / n) = .032
    assert found[1:4].tolist() == pytest.approx(softmax([1, 2, 3]), abs=0.032)


def test_seeds() -> None:
    state = torch.get_rng_state()
    first = [torch.rand(3, generator=new_generator(s)) for s in (5, 5, 6)]
    assert torch.equal(first[0], first[1]) and not torch.equal(first[0], first[2])
    free = [torch.rand(3, generator=new_generator(None)) for _ in range(2)]
    assert not torch.equal(*free)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"temperature": -0.1}, "--temperature is -0.1"),
        ({"temperature": math.nan}, "--temperature is nan"),
        ({"temperature": math.inf}, "--temperature is inf"),
        ({"top_k": 0}, "--top-k is 0"),
        ({"top_p": 0}, "--top-p is 0"),
        ({"top_p": 1.1}, "--top-p is 1.1"),
        ({"min_p": -0.1}, "--min-p is -0.1"),
        ({"min_p": 1.1}, "--min-p is 1.1"),
    ],
)
def test_a_wrong_setting_is_named(wrong: dict[str, float], says: str) -> None:
    with pytest.raises(UserError, match=says):
        Sampling(**wrong)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_wrong_seed_is_named(seed: int) -> None:
    with pytest.raises(UserError, match="--seed is"):
        new_generator(seed)
