"""The AWD-LSTM encoder: state as a value, one weight mask a call, and what stock fastai gets wrong."""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from ulmfit.models import awd_lstm as module
from ulmfit.models.arch import ArchConfig
from ulmfit.models.awd_lstm import LSTMLayer, awd_lstm, torch_lstm
from ulmfit.models.encoder import Encoder
from ulmfit.models.fast_lstm import LSTMWeights
from ulmfit.models.state import detach, resize, select

pytestmark = pytest.mark.usefixtures("calm")

SMALL = ArchConfig(emb_sz=12, n_hid=20, n_layers=3)
N_VOCAB = 50


@pytest.fixture
def encoder() -> Encoder:
    torch.manual_seed(0)
    return awd_lstm(SMALL, N_VOCAB)


def make_ids(bs: int, seq_len: int) -> Tensor:
    return torch.randint(N_VOCAB, (bs, seq_len), generator=torch.Generator().manual_seed(0))


def test_parameter_names_are_the_contract(encoder: Encoder) -> None:
    shapes = {name: tuple(p.shape) for name, p in encoder.named_parameters()}
    expected = {"embedding.weight": (50, 12)}
    for i, (n_in, n) in enumerate([(12, 20), (20, 20), (20, 12)]):
        expected |= {
            f"rnns.{i}.weight_ih": (4 * n, n_in),
            f"rnns.{i}.weight_hh": (4 * n, n),
            f"rnns.{i}.bias_ih": (4 * n,),
            f"rnns.{i}.bias_hh": (4 * n,),
        }
    assert shapes == expected
    assert list(encoder.state_dict()) == list(shapes)  # no buffers: nothing else is kept


@pytest.mark.parametrize("seq_len", [1, 9])
def test_layer_is_torchs_lstm(seq_len: int) -> None:
    torch.manual_seed(0)
    layer, stock = LSTMLayer(5, 7), nn.LSTM(5, 7)
    with torch.no_grad():
        for (_, ours), theirs in zip(layer.named_parameters(), stock.parameters()):
            theirs.copy_(ours)
    x = torch.randn(seq_len, 3, 5)
    state = layer.initial_state(x)
    for _ in range(2):
        out, state = layer(x, state, weight=layer.weight_hh, precision="fp32")
    expected, carried = stock(x)
    expected, (hidden, cell) = stock(x, carried)
    assert torch.allclose(out, expected, atol=1e-6)
    assert torch.allclose(state[0], hidden[0], atol=1e-6)
    assert torch.allclose(state[1], cell[0], atol=1e-6)


@pytest.mark.parametrize("cuts", [[10], [1] * 10, [3, 7], [6, 1, 3]])
def test_pieces_with_state_are_the_whole(encoder: Encoder, cuts: list[int]) -> None:
    encoder.eval().precision = "fp32"
    ids, state, pieces = make_ids(4, 10), None, []
    whole = encoder(ids)
    for piece in ids.split(cuts, dim=1):
        encoded = encoder(piece, state)
        state = encoded.state
        pieces.append(encoded.raw)
    assert torch.allclose(torch.cat(pieces, 1), whole.raw, atol=1e-6)
    for layer, expected in zip(state, whole.state):
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(layer, expected))


def test_nothing_is_kept_in_the_module(encoder: Encoder) -> None:
    encoder.eval()
    ids = make_ids(4, 10)
    first = encoder(ids).raw
    encoder(make_ids(2, 3))
    assert torch.equal(encoder(ids).raw, first)
    assert encoder(ids).dropped is not None and torch.equal(encoder(ids).dropped, first)


def test_state_can_be_detached_selected_and_resized(encoder: Encoder) -> None:
    encoder.eval().precision = "fp32"
    ids = make_ids(4, 6)
    state = encoder(ids).state
    assert all(part.requires_grad for layer in state for part in layer)
    assert not any(part.requires_grad for layer in detach(state) for part in layer)
    after = encoder(ids, state).raw
    rows = torch.tensor([2, 0])
    assert torch.allclose(encoder(ids[rows], select(state, rows)).raw, after[rows], atol=1e-6)
    assert torch.allclose(encoder(ids[:2], resize(state, 2)).raw, after[:2], atol=1e-6)
    grown = encoder(torch.cat([ids, ids[:1]]), resize(state, 5)).raw
    assert torch.allclose(grown[:4], after, atol=1e-6)
    assert torch.allclose(grown[4], encoder(ids[:1]).raw[0], atol=1e-6)  # a fresh row


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_state_has_the_models_dtype(encoder: Encoder, dtype: torch.dtype) -> None:
    state = encoder.to(dtype)(make_ids(2, 3)).state
    assert {part.dtype for layer in state for part in layer} == {dtype}
    assert {tuple(part.shape) for part in state[0]} == {(2, 20)}


def test_drop_mult_zero_trains_and_validates() -> None:
    """Stock fastai stops with an error at the first validation."""
    torch.manual_seed(0)
    encoder = awd_lstm(replace(SMALL, drop_mult=0), N_VOCAB)
    ids = make_ids(3, 8)
    trained = encoder.train()(ids)
    trained.raw.sum().backward()
    assert torch.equal(encoder.eval()(ids).raw, trained.raw)
    assert torch.equal(trained.dropped, trained.raw)


@pytest.mark.parametrize("name", ["input_p", "hidden_p", "embed_p", "weight_p", "output_p"])
def test_each_dropout_acts_alone_and_only_in_training(name: str) -> None:
    off = dict.fromkeys(("input_p", "hidden_p", "embed_p", "weight_p", "output_p"), 0.0)
    torch.manual_seed(0)
    encoder = awd_lstm(replace(SMALL, **(off | {name: 0.5})), N_VOCAB)
    ids = make_ids(3, 8)
    expected = encoder.eval()(ids)
    encoder.train()
    out = encoder(ids)
    moved = out.dropped if name == "output_p" else out.raw
    assert not torch.allclose(moved, expected.raw)
    assert torch.equal(encoder.eval()(ids).raw, expected.raw)
    if name == "output_p":
        assert torch.equal(out.raw, expected.raw)


def test_one_weight_mask_a_call(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recurrent weights of a layer are dropped once for all steps, and anew in the next call."""
    seen: list[Tensor] = []
    real = module.weight_drop

    def spy(weight: Tensor, p: float) -> Tensor:
        seen.append(real(weight, p))
        return seen[-1]

    monkeypatch.setattr(module, "weight_drop", spy)
    encoder.train()
    before = copy.deepcopy(encoder.state_dict())
    encoder(make_ids(3, 8))
    encoder(make_ids(3, 8))
    assert len(seen) == 2 * SMALL.n_layers
    assert not torch.equal(seen[0] == 0, seen[SMALL.n_layers] == 0)
    share = torch.cat([(w == 0).flatten() for w in seen]).float().mean().item()
    assert share == pytest.approx(SMALL.weight_p, abs=0.03)
    assert all(torch.equal(v, before[k]) for k, v in encoder.state_dict().items())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_same_seed_same_bits(encoder: Encoder, precision: str) -> None:
    encoder.train().precision = precision
    results = []
    for _ in range(2):
        torch.manual_seed(5)
        encoder.zero_grad()
        encoder(make_ids(3, 20)).dropped.square().mean().backward()
        results.append([p.grad.clone() for p in encoder.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*results))
    assert all(g.abs().sum() > 0 for g in results[0])


def test_no_warning_is_raised_or_silenced(encoder: Encoder) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder.train()(make_ids(2, 20)).raw.sum().backward()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_weights_reach_cudnn_in_one_piece() -> None:
    torch.manual_seed(0)
    encoder = awd_lstm(replace(SMALL, drop_mult=0), N_VOCAB)
    ids = make_ids(4, 10)
    expected = encoder(ids).raw.detach()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = encoder.cuda()(ids.cuda()).raw
    found.sum().backward()
    assert torch.allclose(found.cpu(), expected, atol=1e-2)


def test_gradient_in_eval_mode(encoder: Encoder) -> None:
    """What explains a prediction differentiates a model that does not train."""
    encoder.eval()(make_ids(2, 5)).raw.sum().backward()
    assert encoder.embedding.weight.grad.abs().sum() > 0


def test_weights_in_one_piece_are_the_same_weights() -> None:
    torch.manual_seed(0)
    layer = LSTMLayer(5, 7)
    own = [layer.weight_ih, layer.weight_hh, layer.bias_ih, layer.bias_hh]
    parts = module._in_one_piece(own)
    assert all(torch.equal(a, b) for a, b in zip(parts, own))
    assert len({p.untyped_storage().data_ptr() for p in parts}) == 1
    x = torch.randn(4, 2, 5)
    out, _ = torch_lstm(x, layer.initial_state(x), weights=LSTMWeights(*parts), dtype=torch.float32)
    out.sum().backward()
    assert all(p.grad is not None for p in own)
