"""The tiled loss against torch's own over whole logits: values, gradients, smoothing, hits, memory."""

from __future__ import annotations

from collections.abc import Generator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from ulmfit.models import fused_loss
from ulmfit.models.fused_loss import linear_cross_entropy
from ulmfit.models.threads import one_thread


@pytest.fixture(autouse=True)
def calm() -> Generator[None, None, None]:
    """Tiny products on two threads of a busy machine mostly wait for each other."""
    with one_thread():
        yield


def make(n: int, v: int, e: int = 12, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    hidden, weight, bias = (
        torch.randn(s, generator=g).requires_grad_() for s in ((n, e), (v, e), (v,))
    )
    return hidden, torch.randint(v, (n,), generator=g), weight, bias


def gradients(loss: Tensor, *leaves: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss, leaves)


@given(
    n=st.integers(1, 40),
    v=st.integers(2, 90),
    tile=st.sampled_from([1, 7, 32, 1000]),
    smoothing=st.sampled_from([0.0, 0.1]),
    biased=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_equals_cross_entropy_of_the_logits(
    n: int, v: int, tile: int, smoothing: float, biased: bool, seed: int
) -> None:
    hidden, targets, weight, bias = make(n, v, seed=seed)
    own = fused_loss.TILE_WORDS
    fused_loss.TILE_WORDS = (tile, tile)
    try:
        ours = linear_cross_entropy(
            hidden,
            targets,
            weight=weight,
            bias=bias if biased else None,
            smoothing=smoothing,
            precision="fp32",
            with_hits=True,
        )
        leaves = (hidden, weight, bias) if biased else (hidden, weight)
        upstream = torch.linspace(-1, 2, n)  # another weight for each token
        found = gradients((ours.losses * upstream).sum(), *leaves)
    finally:
        fused_loss.TILE_WORDS = own
    logits = F.linear(hidden, weight, bias if biased else None)
    expected = F.cross_entropy(logits, targets, reduction="none", label_smoothing=smoothing)
    assert torch.allclose(ours.losses, expected, atol=2e-5)
    assert torch.equal(ours.hits, logits.argmax(1) == targets)
    for a, b in zip(found, gradients((expected * upstream).sum(), *leaves)):
        assert torch.allclose(a, b, atol=5e-5)


def test_bfloat16_products_change_only_the_rounding() -> None:
    hidden, targets, weight, bias = make(300, 3000, 64)
    low = linear_cross_entropy(hidden, targets, weight=weight, bias=bias, precision="bf16")
    expected = F.cross_entropy(F.linear(hidden, weight, bias), targets)
    assert low.mean().item() == pytest.approx(expected.item(), rel=1e-3)
    found = gradients(low.mean(), hidden, weight, bias)
    for a, b in zip(found, gradients(expected, hidden, weight, bias)):
        assert a.dtype == torch.float32
        assert F.cosine_similarity(a.flatten(), b.flatten(), dim=0) >= 0.999


def test_keeps_the_shape_of_the_targets() -> None:
    hidden, targets, weight, bias = make(24, 30)
    out = linear_cross_entropy(
        hidden.view(4, 6, -1), targets.view(4, 6), weight=weight, bias=bias, with_hits=True
    )
    assert out.losses.shape == out.hits.shape == (4, 6)
    assert torch.equal(out.mean(), out.losses.mean())


def test_huge_logits_do_not_overflow() -> None:
    hidden, targets, weight, bias = make(10, 50)
    out = linear_cross_entropy(hidden * 1e3, targets, weight=weight, bias=bias, precision="fp32")
    expected = F.cross_entropy(F.linear(hidden * 1e3, weight, bias), targets, reduction="none")
    assert torch.allclose(out.losses, expected, rtol=1e-4, atol=1e-2)
    assert all(g.isfinite().all() for g in gradients(out.mean(), hidden, weight, bias))


def test_no_tensor_is_as_large_as_the_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    n, v = 512, 20_000
    monkeypatch.setattr(fused_loss, "TILE_ELEMENTS", 1 << 18)
    hidden, targets, weight, bias = make(n, v)
    with torch.profiler.profile(profile_memory=True) as profile:
        linear_cross_entropy(hidden, targets, weight=weight, bias=bias).mean().backward()
    largest = max(e.cpu_memory_usage for e in profile.events() if e.name.startswith("aten::empty"))
    assert 0 < largest < n * v * 4 / 8


def test_frozen_weight_gets_no_gradient() -> None:
    hidden, targets, weight, bias = make(10, 50)
    linear_cross_entropy(hidden, targets, weight=weight.detach(), bias=bias).mean().backward()
    assert weight.grad is None and hidden.grad is not None
