"""Prepared products against plain ones in float32, and a memory that never answers for weights that are gone."""

from __future__ import annotations

import copy
import io
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from emulated_bf16 import EmulatedBF16
from torch import Tensor
from torch.nn import functional as F

from ulmfit.models import products
from ulmfit.models.awd_lstm import LSTMLayer
from ulmfit.models.precision import EIGHT_BITS, SEVEN_BITS, WholeRange, whole_range
from ulmfit.models.products import (
    Kept,
    bf16_product,
    bf16_sum,
    int8_product,
    int8_sum,
    whole_rows,
)

pytestmark = pytest.mark.usefixtures("calm")

N_IN, N_OUT, ROWS = 48, 80, 13
needs_int8 = pytest.mark.skipif(whole_range() is None, reason="torch has no int8 products here")


def drawn() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw a weight, a bias, rows of very different size, and what is to be added."""
    g = torch.Generator().manual_seed(0)
    size = torch.logspace(-6, 2, ROWS)[:, None]
    x = (torch.randn(ROWS, N_IN, generator=g) * size).bfloat16()
    y = torch.randn(ROWS, N_OUT, generator=g).bfloat16()
    return torch.randn(N_OUT, N_IN, generator=g), torch.randn(N_OUT, generator=g), x, y


def close(found: Tensor, exact: Tensor, product: Tensor, *, share: float) -> None:
    """Allow each row an error in the measure of its own product, and the rounding of the sum."""
    allowed = share * product.abs().amax(-1, keepdim=True) + exact.abs() / 128
    assert found.dtype == torch.bfloat16 and ((found.float() - exact).abs() <= allowed).all()


@pytest.mark.parametrize("is_packed", [True, False])
def test_bfloat16_products(is_packed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not is_packed:
        monkeypatch.setattr(products, "_packed", lambda weight, rows: None)
    weight, bias, x, y = drawn()
    product = x.float() @ weight.T
    close(bf16_product(weight)(x), product, product, share=0.01)
    close(bf16_product(weight, bias)(x), product + bias, product, share=0.01)
    close(bf16_product(weight, bias)(x.float()), product + bias, product, share=0.01)
    close(bf16_sum(weight)(x, y), product + y.float(), product, share=0.01)


@needs_int8
def test_int8_products(compiled_or_not: None) -> None:
    weight, bias, x, y = drawn()
    product = x.float() @ weight.T
    close(int8_product(weight, bias)(x), product + bias, product, share=0.02)
    close(int8_sum(weight)(x, y), product + y.float(), product, share=0.02)
    steps = int8_product(weight, bias)(torch.stack([x, 2 * x]))
    assert steps.shape == (2, ROWS, N_OUT)


@needs_int8
def test_an_int8_row_depends_on_no_other_row(compiled_or_not: None) -> None:
    weight, bias, x, y = drawn()
    product, add = int8_product(weight, bias), int8_sum(weight)
    together, summed = product(x), add(x, y)
    for row in range(ROWS):
        alone = slice(row, row + 1)
        assert torch.equal(product(x[alone]), together[alone])
        assert torch.equal(add(x[alone], y[alone]), summed[alone])


@pytest.mark.parametrize("numbers", [EIGHT_BITS, SEVEN_BITS])
def test_whole_numbers_stand_for_their_row(numbers: WholeRange, compiled_or_not: None) -> None:
    *_, x, _ = drawn()
    x[3] = 0.0
    whole, scales = whole_rows(x, numbers)
    back = (whole.float() - numbers.zero) * scales.float()
    assert (
        whole.dtype == torch.uint8 and 1 <= int(whole.min()) <= int(whole.max()) < 2 * numbers.zero
    )
    assert ((back - x.float()).abs() <= 0.51 * scales.float()).all()
    largest = (whole.int() - numbers.zero).abs().amax(1)
    others = largest[[0, 1, 2, *range(4, ROWS)]]
    assert largest[3] == 0 and (others >= numbers.largest - 1).all()
    x[5, 7] = torch.nan
    assert whole_rows(x, numbers)[1][5].isnan()


def test_two_products_of_seven_bits_fit_into_sixteen() -> None:
    numbers = torch.arange(-3.0, 3.0, 1e-3).exp().bfloat16()[:, None]  # scales of every rounding
    assert whole_rows(numbers, SEVEN_BITS)[0].max() == SEVEN_BITS.zero + SEVEN_BITS.largest
    assert 2 * (SEVEN_BITS.zero + SEVEN_BITS.largest) * products.LARGEST < 2**15


@needs_int8
def test_int8_products_do_not_saturate() -> None:
    """All products of a row are the largest there can be, with one sign."""
    weight, x = torch.full((N_OUT, 512), 0.5), torch.full((3, 512), 2.0).bfloat16()
    found = int8_product(weight, torch.zeros(N_OUT))(x)
    assert torch.equal(found.float(), torch.full((3, N_OUT), 512.0))


# --- what is kept


def count_of(kept: Kept, weight: Tensor) -> int:
    """Ask for a product that says how often it was made."""
    return kept.get("sum", (weight,), lambda: float(weight.detach().sum()))


def test_a_changed_weight_is_prepared_again() -> None:
    kept, weight = Kept(), torch.ones(3, 2)
    assert count_of(kept, weight) == 6
    assert kept.get("sum", (weight,), lambda: pytest.fail("made twice")) == 6
    weight.mul_(2)
    assert count_of(kept, weight) == 12
    weight.data = torch.ones(3, 2)
    assert count_of(kept, weight) == 6
    for _ in range(20):  # a new tensor may lie where an old one lay
        weight = torch.rand(3, 2)
        assert count_of(kept, weight) == pytest.approx(float(weight.sum()))
    kept.clear()
    assert len(kept) == 0
    with torch.inference_mode():
        weight = torch.ones(2)
        count_of(kept, weight)
        weight.mul_(3)
        assert count_of(kept, weight) == 6


def layer_and_input() -> tuple[LSTMLayer, Tensor]:
    torch.manual_seed(0)
    return LSTMLayer(N_IN, 24).eval().requires_grad_(False), torch.randn(20, 3, N_IN)


@torch.no_grad()
def read(layer: LSTMLayer, x: Tensor) -> Tensor:
    return layer(x, layer.initial_state(x), weight=layer.weight_hh, precision="bf16")[0]


def test_an_optimiser_a_state_dict_and_a_format_are_noticed() -> None:
    layer, x = layer_and_input()
    before = read(layer, x)
    for optimiser in (
        torch.optim.SGD(layer.parameters(), 0.5),
        torch.optim.AdamW(layer.parameters(), 0.5, fused=True),
    ):
        for parameter in layer.requires_grad_(True).parameters():
            parameter.grad = torch.randn_like(parameter)
        read(layer, x)
        optimiser.step()  # without a word to the layer
        assert torch.equal(read(layer, x), read(copy.deepcopy(layer), x))
        layer.requires_grad_(False)
        after = read(layer, x)
        assert not torch.equal(before, after)
        assert torch.equal(after, read(copy.deepcopy(layer), x))
        before = after
    other = LSTMLayer(N_IN, 24).eval().requires_grad_(False)
    layer.load_state_dict(other.state_dict())
    assert torch.equal(read(layer, x), read(other, x))
    layer.load_state_dict({n: w * 2 for n, w in other.state_dict().items()}, assign=True)
    assert not torch.equal(read(layer, x), read(other, x))


def test_what_is_kept_is_no_part_of_the_module() -> None:
    layer, x = layer_and_input()
    names = set(layer.state_dict())
    read(layer, x)
    assert len(layer._kept) == 1 and set(layer.state_dict()) == names
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    for twin in (copy.deepcopy(layer), torch.load(file, weights_only=False)):
        assert len(twin._kept) == 0 and torch.equal(read(twin, x), read(layer, x))
    layer.train()
    assert len(layer._kept) == 0
    with torch.no_grad():
        layer(x, layer.initial_state(x), weight=layer.drop_weight(0.5), precision="bf16")
    assert len(layer._kept) == 0


def test_threads_prepare_once_and_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = layer_and_input()
    made: list[int] = []
    monkeypatch.setattr("ulmfit.models.fast_lstm.bf16_sum", lambda w: made.append(1) or bf16_sum(w))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: read(layer, x), range(12)))
    assert len(made) == 1 and all(torch.equal(found[0], other) for other in found)


def test_emulated_products_are_torchs_own() -> None:
    """But for the order of the sums: at most one step of bfloat16, seen from the largest summand."""
    weight, bias, x, _ = (tensor.to(torch.bfloat16) for tensor in drawn())
    buffer = weight.new_empty(ROWS, N_OUT)

    def found() -> list[Tensor]:
        leaf = weight.clone().requires_grad_()
        (x @ leaf.t()).float().sum().backward()
        with_bias = F.linear(x.unsqueeze(0), weight, bias)[0]
        return [with_bias, torch.mm(x, weight.t(), out=buffer).clone(), leaf.grad]

    plain = found()
    with EmulatedBF16():
        emulated = found()
    for ours, theirs in zip(emulated, plain, strict=True):
        assert ours.dtype == theirs.dtype == torch.bfloat16
        assert torch.allclose(ours.float(), theirs.float(), rtol=2**-7, atol=2**-7)
