"""The tiled loss against torch's own over whole logits: values, gradients, smoothing, hits, memory."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from ulmfit.models import fused_loss, softmax
from ulmfit.models.fused_loss import linear_cross_entropy
from ulmfit.models.precision import Precision

pytestmark = pytest.mark.usefixtures("calm")


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
    weighed=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_equals_cross_entropy_of_the_logits(
    n: int, v: int, tile: int, smoothing: float, biased: bool, weighed: bool, seed: int
) -> None:
    hidden, targets, weight, bias = make(n, v, seed=seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused_loss, "TILE_WORDS", tile)
        patch.setattr(fused_loss, "CHUNK_ELEMENTS", tile * v)  # so many tokens at a time
        patch.setattr(softmax, "BLOCK_ELEMENTS", tile * v // 3)
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
        upstream = torch.linspace(-1, 2, n) if weighed else torch.full((n,), 0.7)
        found = gradients((ours.losses * upstream).sum(), *leaves)
    logits = F.linear(hidden, weight, bias if biased else None)
    expected = F.cross_entropy(logits, targets, reduction="none", label_smoothing=smoothing)
    assert torch.allclose(ours.losses, expected, atol=2e-5)
    assert torch.equal(ours.hits, logits.argmax(1) == targets)
    for a, b in zip(found, gradients((expected * upstream).sum(), *leaves)):
        assert torch.allclose(a, b, atol=5e-5)


@pytest.mark.usefixtures("compiled_or_not")
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("is_even", [True, False])
def test_bfloat16_products_change_only_the_rounding(
    smoothing: float, is_even: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused_loss, "CHUNK_ELEMENTS", 3001 * 70)  # chunks, and no round numbers
    hidden, targets, weight, bias = make(300, 3001, 64)
    upstream = torch.full((300,), 1 / 300) if is_even else torch.rand(300) / 300
    low = linear_cross_entropy(
        hidden, targets, weight=weight, bias=bias, smoothing=smoothing, precision="bf16",
        with_hits=True,
    )  # fmt: skip
    logits = F.linear(hidden, weight, bias)
    expected = F.cross_entropy(logits, targets, reduction="none", label_smoothing=smoothing)
    assert low.mean().item() == pytest.approx(expected.mean().item(), rel=1e-3)
    assert (low.losses - expected).abs().max() < 0.25  # bfloat16's step between logits of 32 and 64
    assert (low.hits == (logits.argmax(1) == targets)).float().mean() > 0.99
    found = gradients((low.losses * upstream).sum(), hidden, weight, bias)
    for a, b in zip(found, gradients((expected * upstream).sum(), hidden, weight, bias)):
        assert a.dtype == torch.float32 and a.is_contiguous()
        assert F.cosine_similarity(a.flatten(), b.flatten(), dim=0) >= 0.999
        assert a.norm() == pytest.approx(b.norm().item(), rel=5e-3)


@pytest.mark.usefixtures("compiled_or_not")
def test_backward_twice_gives_the_same_bits() -> None:
    """The second pass computes anew, and the first result is the caller's own."""
    hidden, targets, weight, bias = make(60, 500)
    loss = linear_cross_entropy(hidden, targets, weight=weight, bias=bias, precision="bf16").mean()
    first = torch.autograd.grad(loss, (hidden, weight, bias), retain_graph=True)
    kept = [part.clone() for part in first]
    for part in first:
        part.zero_()
    second = torch.autograd.grad(loss, (hidden, weight, bias))
    assert all(torch.equal(a, b) for a, b in zip(kept, second))


@pytest.mark.usefixtures("compiled_or_not")
def test_not_a_number_is_not_lost() -> None:
    hidden, targets, weight, bias = make(5, 50)
    with torch.no_grad():
        hidden[2] = torch.nan
        losses = linear_cross_entropy(
            hidden, targets, weight=weight, bias=bias, precision="bf16"
        ).losses
    assert losses.isnan().tolist() == [False, False, True, False, False]


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
    monkeypatch.setattr(fused_loss, "CHUNK_ELEMENTS", 1 << 18)
    hidden, targets, weight, bias = make(n, v)
    with torch.profiler.profile(profile_memory=True) as profile:
        linear_cross_entropy(hidden, targets, weight=weight, bias=bias).mean().backward()
    largest = max(e.cpu_memory_usage for e in profile.events() if e.name.startswith("aten::empty"))
    assert 0 < largest < n * v * 4 / 8


def test_no_tokens_no_loss() -> None:
    hidden, targets, weight, bias = make(0, 50)
    linear_cross_entropy(hidden, targets, weight=weight, bias=bias).losses.sum().backward()
    assert weight.grad.count_nonzero() == 0


def test_frozen_weight_gets_no_gradient() -> None:
    hidden, targets, weight, bias = make(10, 50)
    linear_cross_entropy(hidden, targets, weight=weight.detach(), bias=bias).mean().backward()
    assert weight.grad is None and hidden.grad is not None


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_targets_of_any_integer_and_none_that_is_no_word(precision: Precision) -> None:
    """The compiled softmax writes where a target says: nothing may pass that is not a word."""
    hidden, targets, weight, bias = make(20, 50)

    def losses(of: Tensor) -> Tensor:
        given = {"weight": weight, "bias": bias, "precision": precision}
        return linear_cross_entropy(hidden, of, **given).losses

    assert torch.equal(losses(targets.int()), losses(targets))
    for wrong in (-100, 50, 5_000_000):
        with pytest.raises(IndexError, match="of 50 words"):
            losses(torch.where(torch.arange(20) == 3, wrong, targets))


def test_the_default_dtype_is_no_matter() -> None:
    hidden, targets, weight, bias = make(20, 50)
    given = {"weight": weight, "bias": bias, "precision": "bf16"}
    usual = linear_cross_entropy(hidden, targets, **given).losses
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(linear_cross_entropy(hidden, targets, **given).losses, usual)
    finally:
        torch.set_default_dtype(torch.float32)
