"""The compiled kernels against float64 and torch; how they come to be, and what happens without them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ulmfit.models import native
from ulmfit.models.lstm_cell import TorchCell
from ulmfit.models.threads import one_thread

BF16 = torch.bfloat16
BS, N_UNITS = 5, 37  # no multiple of a vector's width


@pytest.fixture
def kernels() -> native.Kernels:
    found = native.kernels()
    if found is None:
        pytest.skip(native.state())
    return found


@pytest.fixture
def uncached() -> Generator[None, None, None]:
    native._load.cache_clear()
    yield
    native._load.cache_clear()


def normal(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scale


@pytest.mark.parametrize("scale", [1e-4, 1.0, 8.0, 300.0])
def test_cell_is_float64s_to_a_millionth(kernels: native.Kernels, scale: float) -> None:
    gates, before = normal(BS, 4 * N_UNITS, scale=scale).to(BF16), normal(BS, N_UNITS, seed=1)
    kept, hidden = torch.empty_like(gates), torch.empty(BS, N_UNITS, dtype=BF16)
    after = torch.empty_like(before)
    kernels.cell_forward(gates, kept, before, after, hidden)
    i, f, g, o = gates.double().view(BS, 4, N_UNITS).unbind(1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    expected = f * before.double() + i * g
    assert (after - expected).abs().max() < 1e-6
    half_a_unit = 2**-8  # of bfloat16's last place, and a little for ties
    exact = torch.cat([i, f, g, o], dim=1)
    assert ((kept.double() - exact).abs() <= exact.abs() * half_a_unit + 1e-30).all()
    assert torch.allclose(hidden.double(), o * expected.tanh(), rtol=half_a_unit, atol=1e-9)


def test_cell_backward_is_autograds(kernels: native.Kernels) -> None:
    gates = normal(BS, 4 * N_UNITS, scale=2.0).to(BF16).double().requires_grad_()
    before = normal(BS, N_UNITS, seed=1).double().requires_grad_()
    act = gates.view(BS, 4, N_UNITS)
    i, f, g, o = act[:, 0].sigmoid(), act[:, 1].sigmoid(), act[:, 2].tanh(), act[:, 3].sigmoid()
    after = f * before + i * g
    d_output, d_next = normal(BS, N_UNITS, seed=2), normal(BS, N_UNITS, seed=3).to(BF16)
    d_cell = normal(BS, N_UNITS, seed=4)
    loss = (o * after.tanh() * (d_output + d_next)).sum() + (after * d_cell).sum()
    expected, expected_cell = torch.autograd.grad(loss, (gates, before))
    kept = torch.cat([i, f, g, o], dim=1).detach().to(BF16)
    state = before.detach().float(), after.detach().float()
    for cell in (kernels, TorchCell(BS, N_UNITS)):
        d_gates, d = torch.empty_like(kept), d_cell.clone()
        cell.cell_backward(
            kept, *state, d_output=d_output, d_next=d_next, d_cell=d, d_gates=d_gates
        )
        assert (d_gates - expected).abs().max() < 0.02 * expected.abs().max()
        assert (d - expected_cell).abs().max() < 0.01 * expected_cell.abs().max()


@pytest.mark.parametrize("shape", [(3, 1), (7, 31), (64, 32), (200, 1001)])
def test_softmax_is_float64s(kernels: native.Kernels, shape: tuple[int, int]) -> None:
    logits, bias = normal(*shape, scale=6.0).to(BF16), normal(shape[1], seed=1)
    truth = torch.arange(shape[0]) % shape[1]
    exact = logits.double() + bias
    top, total = torch.empty(2, shape[0])
    best = torch.empty(shape[0], dtype=torch.int64)
    kernels.softmax_sums(logits, bias, top=top, total=total, best=best)
    assert torch.equal(best, (logits.float() + bias).argmax(1))
    assert torch.allclose(top + total.log(), exact.logsumexp(1).float(), rtol=1e-6, atol=2e-6)
    kernels.softmax_gradients(
        logits, bias, top=top, total=total, truth=truth, floor=0.1 / shape[1], peak=0.9
    )
    expected = exact.softmax(1) - 0.1 / shape[1]
    expected[torch.arange(shape[0]), truth] -= 0.9
    assert torch.allclose(logits.double(), expected, rtol=2**-8, atol=1e-6)


def test_any_number_of_threads_gives_the_same_bits(kernels: native.Kernels) -> None:
    logits, bias = normal(300, 500, scale=4.0).to(BF16), torch.zeros(500)
    found = []
    before = torch.get_num_threads()
    try:
        for n_threads in (1, 2, 5):
            torch.set_num_threads(n_threads)
            top, total = torch.empty(2, 300)
            kernels.softmax_sums(logits, bias, top=top, total=total, best=None)
            found.append((top, total))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for pair in found[1:] for a, b in zip(found[0], pair))


def test_rounds_as_torch_does(kernels: native.Kernels) -> None:
    """An open output gate and tanh(cell) spread over bfloat16's range of roundings."""
    gates = torch.zeros(1, 4 * 4096, dtype=BF16)
    gates[:, 4096:8192] = gates[:, 3 * 4096 :] = 80  # forget and output gates are exactly 1
    before = torch.linspace(-3, 3, 4096).view(1, -1)
    hidden, after = torch.empty(1, 4096, dtype=BF16), torch.empty(1, 4096)
    kernels.cell_forward(gates, gates.clone(), before, after, hidden)
    assert (hidden != before.tanh().to(BF16)).float().mean() < 0.002  # ties within an ulp of float


@pytest.mark.usefixtures("uncached")
def test_no_compiler_no_kernels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ULMFIT_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert native.kernels() is None
    assert "no C compiler" in native.state()


@pytest.mark.usefixtures("uncached")
def test_no_cache_no_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ULMFIT_CACHE", "off")
    assert native.kernels() is None


@pytest.mark.usefixtures("uncached", "kernels")
def test_a_compiler_that_fails_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ULMFIT_CACHE", str(tmp_path))
    monkeypatch.setattr(native, "FLAGS", ("-march=no-such-processor",))
    native._load.cache_clear()
    assert native.kernels() is None
    assert native.state().startswith("not compiled")
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("kernels")
def test_processes_may_compile_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ULMFIT_CACHE", str(tmp_path))
    code = "from ulmfit.models import native; print(native.state())"
    both = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for _ in range(2)
    ]
    assert [process.communicate(timeout=60)[0].split() for process in both] == [[b"compiled"]] * 2
    assert [path.suffix for path in tmp_path.iterdir()] == [".so"]


def test_overlapping_callers(kernels: native.Kernels) -> None:
    """On one thread no other is started."""
    with one_thread():
        logits, bias = normal(100, 60).to(BF16), torch.zeros(60)
        top, total = torch.empty(2, 100)
        kernels.softmax_sums(logits, bias, top=top, total=total, best=None)
    assert torch.equal(top, logits.float().amax(1))
