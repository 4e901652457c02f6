"""The bfloat16 layer against torch's `nn.LSTM` in float32: outputs, state, every gradient, determinism."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ulmfit.models import native, precision, products
from ulmfit.models.awd_lstm import LSTMLayer
from ulmfit.models.fast_lstm import LSTMWeights, fast_lstm
from ulmfit.models.precision import has_fast_bf16, product_dtype
from ulmfit.models.threads import one_thread

N_IN, N_UNITS, SEQ_LEN, BS = 24, 40, 30, 6
NAMES = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")


@pytest.fixture(autouse=True, params=["native", "torch"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every test with the compiled cell and with torch's."""
    if request.param == "torch":
        monkeypatch.setenv("ULMFIT_NATIVE", "off")
    elif native.kernels() is None:
        pytest.skip(native.state())


@pytest.fixture
def stock() -> nn.LSTM:
    torch.manual_seed(0)
    lstm = nn.LSTM(N_IN, N_UNITS)
    with torch.no_grad():
        for parameter in lstm.parameters():
            parameter.mul_(3)  # gates that are not all one half
    return lstm


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(1)
    shapes = ((SEQ_LEN, BS, N_IN), (BS, N_UNITS), (BS, N_UNITS))
    x, hidden, cell = (torch.randn(s, generator=g).requires_grad_() for s in shapes)
    return x, hidden, cell


def weights(stock: nn.LSTM) -> LSTMWeights:
    return LSTMWeights(*(getattr(stock, name) for name in NAMES))


def scalar(out: Tensor, hidden: Tensor, cell: Tensor) -> Tensor:
    """Weigh all outputs differently, so that a mixed-up gradient shows."""
    ramp = torch.linspace(-1, 2, out.numel()).view_as(out)
    return (out * ramp).mean() + hidden.square().mean() - (cell * hidden).mean()


@pytest.mark.parametrize("is_packed", [True, False])
def test_gradients_are_float32s_up_to_rounding(
    stock: nn.LSTM, is_packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_packed:
        monkeypatch.setattr(products, "_packed", lambda weight, bs: None)
    x, hidden, cell = inputs()
    leaves = (x, hidden, cell, *stock.parameters())
    out, (h, c) = fast_lstm(x, (hidden, cell), weights=weights(stock))
    found = scalar(out, h, c)
    ref_out, (ref_h, ref_c) = stock(x, (hidden.unsqueeze(0), cell.unsqueeze(0)))
    expected = scalar(ref_out, ref_h[0], ref_c[0])
    assert found.item() == pytest.approx(expected.item(), rel=1e-2)
    assert (out - ref_out).abs().max() < 2e-2
    for a, b in zip(torch.autograd.grad(found, leaves), torch.autograd.grad(expected, leaves)):
        assert a.dtype == torch.float32 and a.shape == b.shape and a.is_contiguous()
        assert F.cosine_similarity(a.flatten(), b.flatten(), dim=0) >= 0.999


def test_the_state_does_not_keep_the_sequence_alive(stock: nn.LSTM) -> None:
    x, hidden, cell = (part.detach() for part in inputs())
    _, state = fast_lstm(x, (hidden, cell), weights=weights(stock))
    assert [part.untyped_storage().nbytes() for part in state] == [BS * N_UNITS * 4] * 2


def test_not_a_number_is_not_lost(stock: nn.LSTM) -> None:
    x, hidden, cell = (part.detach() for part in inputs())
    x[4, 2] = torch.nan
    out, _ = fast_lstm(x, (hidden, cell), weights=weights(stock))
    assert out[4:, 2].isnan().all() and out[:4].isfinite().all() and out[4:, 3].isfinite().all()


def test_without_gradient_gives_the_same_numbers(stock: nn.LSTM) -> None:
    x, hidden, cell = inputs()
    out, (h, c) = fast_lstm(x, (hidden, cell), weights=weights(stock))
    with torch.no_grad():
        again, (h2, c2) = fast_lstm(x, (hidden, cell), weights=weights(stock))
    assert torch.equal(out, again) and torch.equal(h, h2) and torch.equal(c, c2)


def test_state_carries_on(stock: nn.LSTM) -> None:
    x, hidden, cell = (part.detach() for part in inputs())
    whole, _ = fast_lstm(x, (hidden, cell), weights=weights(stock))
    first, state = fast_lstm(x[:13], (hidden, cell), weights=weights(stock))
    second, _ = fast_lstm(x[13:], state, weights=weights(stock))
    assert torch.allclose(torch.cat([first, second]), whole, atol=1e-2)


def test_backward_twice_gives_the_same_bits(stock: nn.LSTM) -> None:
    x, hidden, cell = inputs()
    out, (h, c) = fast_lstm(x, (hidden, cell), weights=weights(stock))
    loss = scalar(out, h, c)
    first = torch.autograd.grad(loss, list(stock.parameters()), retain_graph=True)
    second = torch.autograd.grad(loss, list(stock.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(first, second))


@pytest.mark.parametrize("is_native", [True, False])
def test_auto_follows_the_processor(is_native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_fast_bf16", lambda: is_native)
    weight = torch.zeros(2, 2)
    fast = torch.bfloat16 if is_native else torch.float32
    assert product_dtype(weight, "auto", n_uses=72) == fast
    assert product_dtype(weight, "auto", n_uses=1) == torch.float32  # casting would cost more
    assert product_dtype(weight.double(), "auto", n_uses=72) == torch.float64
    assert product_dtype(weight, "fp32", n_uses=72) == torch.float32
    assert product_dtype(weight, "bf16", n_uses=1) == torch.bfloat16


def exact(layer: LSTMLayer, x: Tensor) -> Tensor:
    return layer(x, layer.initial_state(x), weight=layer.weight_hh, precision="fp32")[0]


def test_autocast_is_followed_where_nothing_else_is_said() -> None:
    layer = LSTMLayer(N_IN, N_UNITS)
    x = inputs()[0].detach()
    state = layer.initial_state(x)
    with torch.autocast("cpu", torch.bfloat16):
        _, state = layer(x[:4], state, weight=layer.weight_hh, precision="auto")
        _, state = layer(x, state, weight=layer.weight_hh, precision="fp32")
        inside = [exact(layer, x[:n]) for n in (1, SEQ_LEN)]
    assert {part.dtype for part in state} == {torch.float32}
    layer(x, state, weight=layer.weight_hh, precision="fp32")
    assert all(torch.equal(found, exact(layer, x[: len(found)])) for found in inside)


def test_the_number_of_threads_is_given_back() -> None:
    before = torch.get_num_threads()
    with pytest.raises(KeyError), one_thread():
        assert torch.get_num_threads() == 1
        raise KeyError
    assert torch.get_num_threads() == before


def test_callers_that_overlap_give_the_threads_back() -> None:
    before = torch.get_num_threads()
    first, second = one_thread(), one_thread()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert torch.get_num_threads() == 1
    second.__exit__(None, None, None)
    assert torch.get_num_threads() == before


def test_the_check_of_the_processor_never_fails() -> None:
    assert has_fast_bf16() in (True, False)
