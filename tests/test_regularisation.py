"""The activation penalties against loops over single numbers, padding and batch size 1 included."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from ulmfit.models.regularisation import activation_reg, temporal_reg


def looped(h: Tensor, lengths: list[int], *, temporal: bool) -> float:
    squares = []
    for row, length in zip(h.tolist(), lengths):
        steps = row[:length]
        if temporal:
            steps = [[b - a for a, b in zip(*pair)] for pair in itertools.pairwise(steps)]
        squares += [x * x for step in steps for x in step]
    return sum(squares) / len(squares) if squares else 0.0


@pytest.mark.parametrize("lengths", [[5], [5, 2, 1, 3], [1], [1, 1]])
def test_padding_does_not_count(lengths: list[int]) -> None:
    h = torch.randn(len(lengths), max(lengths), 3, generator=torch.Generator().manual_seed(0))
    for row, length in enumerate(lengths):
        h[row, length:] = 1e3  # what stands in the padding must not matter
    given = torch.tensor(lengths)
    assert activation_reg(h, lengths=given).item() == pytest.approx(
        looped(h, lengths, temporal=False), rel=1e-5
    )
    assert temporal_reg(h, lengths=given).item() == pytest.approx(
        looped(h, lengths, temporal=True), rel=1e-5
    )


@pytest.mark.parametrize("bs", [1, 4])
def test_without_lengths_all_is_text(bs: int) -> None:
    """At batch size 1 stock fastai leaves the temporal penalty out."""
    h = torch.randn(bs, 6, 3, generator=torch.Generator().manual_seed(0))
    assert activation_reg(h).item() == pytest.approx(looped(h, [6] * bs, temporal=False), rel=1e-5)
    assert temporal_reg(h).item() == pytest.approx(looped(h, [6] * bs, temporal=True), rel=1e-5)
    assert temporal_reg(h) > 0


def test_padding_gets_no_gradient() -> None:
    h = torch.ones(2, 3, 1)
    h[1, 2] = torch.inf
    h.requires_grad_()
    activation_reg(h, lengths=torch.tensor([3, 2])).backward()
    assert h.grad.flatten().tolist() == pytest.approx([0.4, 0.4, 0.4, 0.4, 0.4, 0])
