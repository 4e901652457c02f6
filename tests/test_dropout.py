"""Dropout masks: how often, how much, and what they share; counted, not compared with themselves."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from ulmfit.models.dropout import (
    embedding_dropout,
    keep_mask,
    keep_scale,
    locked_dropout,
    weight_drop,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("p", [0.02, 0.15, 0.5, 0.9])
def test_share_of_dropped_is_p(p: float) -> None:
    n = 400_000
    dropped = 1 - keep_mask((n,), p, generator=seeded()).double().mean().item()
    assert abs(dropped - p) < 5 * (p * (1 - p) / n) ** 0.5 + 1 / 65536


def test_each_of_four_neighbours_is_fair() -> None:
    """Four elements share one 64-bit number; the upper and lower bits are equally random."""
    shares = keep_mask((4 * 100_000,), 0.3, generator=seeded()).view(-1, 4).double().mean(0)
    assert (shares - 0.7).abs().max() < 0.01
    pairs = torch.corrcoef(keep_mask((4 * 100_000,), 0.3, generator=seeded()).view(-1, 4).T.float())
    assert (pairs - torch.eye(4)).abs().max() < 0.02


@given(p=st.floats(0, 0.9999), shape=st.lists(st.integers(1, 5), min_size=1, max_size=3))
@settings(max_examples=50, deadline=None)
def test_scale_times_kept_share_is_one(p: float, shape: list[int]) -> None:
    mask = keep_mask(tuple(shape), p, generator=seeded())
    assert mask.shape == tuple(shape)
    assert mask.dtype == torch.bool
    # The share that is kept is a whole number of 65,536ths next to 1 - p, and 1 / scale is that.
    kept = 65536 / keep_scale(p)
    assert abs(kept - round(kept)) < 1e-6
    assert abs(kept / 65536 - (1 - p)) <= 1 / 65536


def test_same_seed_same_bits() -> None:
    first, second, other = (keep_mask((999,), 0.5, generator=seeded(s)) for s in (3, 3, 4))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    torch.manual_seed(3)
    assert torch.equal(keep_mask((999,), 0.5), first)  # torch's own generator, same algorithm


def test_locked_dropout_is_the_same_at_every_step_and_not_in_every_row() -> None:
    out = locked_dropout(torch.ones(7, 50, 40), 0.3, generator=seeded())
    assert torch.equal(out, out[:1].expand_as(out))
    assert not torch.equal(out[0, 0], out[0, 1])
    assert out.unique().tolist() == [0.0, pytest.approx(1 / 0.7, rel=1e-4)]
    assert out.mean() == pytest.approx(1, abs=0.05)


def test_embedding_dropout_drops_words_not_places() -> None:
    weight = torch.rand(200, 6) + 1
    ids = torch.randint(200, (30, 20), generator=seeded())
    out = embedding_dropout(ids, weight, 0.4, generator=seeded())
    ratio = out / F.embedding(ids, weight)
    fates = [ratio[ids == word].flatten() for word in ids.unique()]
    dropped = [bool((fate == 0).all()) for fate in fates]  # a word as a whole, wherever it stands
    assert 0.2 < sum(dropped) / len(dropped) < 0.6
    for fate, is_dropped in zip(fates, dropped):
        assert is_dropped or torch.allclose(fate, torch.tensor(1 / 0.6), rtol=1e-4)


def test_embedding_gradient_is_that_of_the_scaled_matrix() -> None:
    """Scaling the gathered rows is the same as scaling the matrix and then gathering."""
    weight = torch.rand(50, 6, requires_grad=True)
    ids = torch.randint(50, (9, 4), generator=seeded())
    embedding_dropout(ids, weight, 0.4, pad_id=1, generator=seeded(7)).square().sum().backward()
    ours = weight.grad
    weight.grad = None
    mask = keep_mask((50,), 0.4, generator=seeded(7)).float() * keep_scale(0.4)
    F.embedding(ids, weight * mask.unsqueeze(1), padding_idx=1).square().sum().backward()
    assert torch.allclose(ours, weight.grad, atol=1e-6)


def test_weight_drop_leaves_the_parameter_alone() -> None:
    weight = torch.nn.Parameter(torch.rand(60, 70) + 1)
    before = weight.detach().clone()
    out = weight_drop(weight, 0.25, generator=seeded())
    assert torch.equal(weight, before)
    kept = out != 0
    assert torch.allclose(out[kept], before[kept] * keep_scale(0.25))
    out.sum().backward()
    assert torch.allclose(weight.grad, kept * keep_scale(0.25))


@pytest.mark.parametrize("function", [locked_dropout, weight_drop])
def test_nothing_happens_at_zero(function) -> None:
    x = torch.rand(3, 4, 5)
    assert function(x, 0.0) is x
