"""The QRNN against its formula written as loops, gradients by finite differences, and fastai v1's conventions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ulmfit.models.arch import ArchConfig
from ulmfit.models.qrnn import QRNNLayer, forget_mult, qrnn

pytestmark = pytest.mark.usefixtures("calm")

SMALL = ArchConfig(backbone="qrnn", emb_sz=6, n_hid=10, n_layers=3)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def looped(layer: QRNNLayer, x: Tensor) -> Tensor:
    """Compute one layer number by number: gates z, f, o from this input and the one before it."""
    seq_len, bs, n_in = x.shape
    n = layer.n_units
    weight, bias = layer.weight.double(), layer.bias.double()
    out = torch.zeros(seq_len, bs, n, dtype=torch.float64)
    for b in range(bs):
        for u in range(n):
            cell = 0.0
            for t in range(seq_len):
                source = x[t, b].double()
                if layer.window == 2:
                    earlier = x[t - 1, b].double() if t else torch.zeros(n_in).double()
                    source = torch.cat([source, earlier])
                z, f, o = ((weight[k * n + u] @ source + bias[k * n + u]).item() for k in range(3))
                cell = sigmoid(f) * math.tanh(z) + (1 - sigmoid(f)) * cell
                out[t, b, u] = sigmoid(o) * cell
    return out


@pytest.mark.parametrize("window", [1, 2])
def test_layer_is_the_formula(window: int) -> None:
    torch.manual_seed(0)
    layer = QRNNLayer(4, 3, window=window)
    x = torch.randn(7, 2, 4)
    out, _ = layer(x, layer.initial_state(x), weight=layer.weight, precision="fp32")
    assert torch.allclose(out.double(), looped(layer, x), atol=1e-5)


@pytest.mark.parametrize("cut", [1, 3, 6])
def test_pieces_with_state_are_the_whole(cut: int) -> None:
    torch.manual_seed(0)
    encoder = qrnn(SMALL, 40).eval()
    encoder.precision = "fp32"
    ids = torch.randint(40, (3, 7))
    whole = encoder(ids)
    first = encoder(ids[:, :cut])
    second = encoder(ids[:, cut:], first.state)
    assert torch.allclose(torch.cat([first.raw, second.raw], 1), whole.raw, atol=1e-6)
    # Only the first layer looks at the token before, so only its state holds one.
    assert [len(layer) for layer in whole.state] == [2, 1, 1]


def test_gradients_of_the_recurrence() -> None:
    g = torch.Generator().manual_seed(0)
    z, f = (torch.rand(5, 2, 3, dtype=torch.float64, generator=g).requires_grad_() for _ in "zf")
    cell = torch.rand(2, 3, dtype=torch.float64, generator=g).requires_grad_()
    assert torch.autograd.gradcheck(forget_mult, (z, f, cell))


def test_parameter_names_are_the_contract() -> None:
    shapes = {name: tuple(p.shape) for name, p in qrnn(SMALL, 40).named_parameters()}
    assert shapes == {
        "embedding.weight": (40, 6),
        "rnns.0.weight": (30, 12),  # window 2
        "rnns.0.bias": (30,),
        "rnns.1.weight": (30, 10),
        "rnns.1.bias": (30,),
        "rnns.2.weight": (18, 10),
        "rnns.2.bias": (18,),
    }


def test_weight_drop_is_on_in_training() -> None:
    torch.manual_seed(0)
    arch = ArchConfig("qrnn", 6, 10, 2, input_p=0, output_p=0, hidden_p=0, embed_p=0, weight_p=0.5)
    encoder = qrnn(arch, 40)
    ids = torch.randint(40, (3, 7))
    expected = encoder.eval()(ids).raw
    assert not torch.allclose(encoder.train()(ids).raw, expected)


def test_bfloat16_changes_only_the_rounding() -> None:
    torch.manual_seed(0)
    encoder = qrnn(ArchConfig("qrnn", 32, 64, 3, drop_mult=0), 100)
    ids = torch.randint(100, (4, 20))
    found = {}
    for precision in ("fp32", "bf16"):
        encoder.precision = precision
        encoder.zero_grad()
        out = encoder(ids).raw
        (out * torch.linspace(-1, 1, 20).view(1, -1, 1)).sum().backward()
        found[precision] = [p.grad.flatten().clone() for p in encoder.parameters()]
    for a, b in zip(found["fp32"], found["bf16"]):
        assert torch.cosine_similarity(a, b, dim=0) >= 0.999
