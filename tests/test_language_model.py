"""The language model against fastai's own with the same weights: logits, loss, gradients, groups."""

from __future__ import annotations

import pytest
import torch
from fastai.text.models.awdlstm import awd_lstm_lm_split
from stock_lm import pairs, stock_language_model, stock_loss
from torch import Tensor
from torch.nn import functional as F

from ulmfit.models.arch import DROPOUTS, ArchConfig
from ulmfit.models.backbones import BACKBONES
from ulmfit.models.language_model import LanguageModel
from ulmfit.models.regularisation import activation_reg, temporal_reg
from ulmfit.models.state import detach, resize

pytestmark = pytest.mark.usefixtures("calm")

N_VOCAB = 400
SIZES = {"emb_sz": 40, "n_hid": 64, "n_layers": 3}
NO_DROPOUT = dict.fromkeys(DROPOUTS, 0.0)


def make_model(arch: ArchConfig, precision: str = "fp32") -> LanguageModel:
    torch.manual_seed(0)
    model = LanguageModel(arch, N_VOCAB, precision=precision)
    with torch.no_grad():
        for parameter in model.parameters():  # activations far from zero, as after training
            parameter.mul_(3).add_(torch.randn_like(parameter) * 0.05)
    return model


def make_ids(bs: int, seq_len: int, seed: int = 0) -> Tensor:
    return torch.randint(N_VOCAB, (bs, seq_len), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("bs", [1, 2, 7])
@pytest.mark.parametrize("tied", [True, False])
def test_logits_are_fastais_over_several_batches(bs: int, tied: bool) -> None:
    model = make_model(ArchConfig(**SIZES, tie_weights=tied)).eval()
    stock = stock_language_model(model).eval()
    state = None
    with torch.no_grad():
        for seed, seq_len in enumerate([12, 12, 1, 30]):
            ids = make_ids(bs, seq_len, seed)
            out = model(ids, state)
            state = out.state
            expected, raw, _ = stock(ids)
            assert expected.abs().max() > 0.5
            assert (out.logits() - expected).abs().max() <= 1e-5
            assert (out.raw - raw).abs().max() <= 1e-5
            assert (out.logits(slice(-1, None)) - expected[:, -1:]).abs().max() <= 1e-5


def test_state_follows_fastai_when_the_batch_size_changes() -> None:
    model = make_model(ArchConfig(**SIZES)).eval()
    stock = stock_language_model(model).eval()
    state = model(make_ids(1, 1)).state
    state = tuple(tuple(torch.zeros_like(part) for part in layer) for layer in state)
    with torch.no_grad():
        for bs in (4, 2, 6):
            ids = make_ids(bs, 9, bs)
            out = model(ids, resize(state, bs))
            state = out.state
            assert (out.logits() - stock(ids)[0]).abs().max() <= 1e-5


@pytest.mark.parametrize("bs", [1, 5])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_loss_and_gradients_are_fastais(bs: int, tied: bool, precision: str) -> None:
    """A step with both regularisers, the state of the batch before, and all dropouts at 0."""
    model = make_model(ArchConfig(**SIZES, **NO_DROPOUT, tie_weights=tied), precision)
    stock = stock_language_model(model).eval()  # eval: stock cannot train at weight_p = 0
    state = detach(model(make_ids(bs, 20, 5)).state)
    stock(make_ids(bs, 20, 5))
    ids, targets = make_ids(bs, 20), make_ids(bs, 20, 1)
    out = model.train()(ids, state)
    losses = out.losses(targets, with_hits=True)
    ours = losses.mean() + 2 * activation_reg(out.dropped) + temporal_reg(out.raw)
    theirs = stock_loss(stock, ids, targets, alpha=2, beta=1 if bs > 1 else 0)
    if bs == 1:  # stock leaves this term out, so its formula is spelled out here
        theirs = theirs + (out.raw[:, 1:] - out.raw[:, :-1]).detach().pow(2).mean()
        ours = ours - temporal_reg(out.raw) + temporal_reg(out.raw).detach()
    ours.backward()
    theirs.backward()
    is_exact = precision == "fp32"
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6 if is_exact else 1e-3)
    for theirs_p, ours_p in pairs(stock, model):
        a, b = ours_p.grad, theirs_p.grad
        assert F.cosine_similarity(a.flatten(), b.flatten(), dim=0) >= 0.999
        if is_exact:
            assert torch.allclose(a, b, rtol=1e-4, atol=1e-6)


def test_dropouts_lose_as_much_as_fastais_on_average() -> None:
    model = make_model(ArchConfig(**SIZES)).train()
    stock = stock_language_model(model).train()
    ids, targets = make_ids(8, 20), make_ids(8, 20, 1)
    with torch.no_grad():
        ours = torch.stack([model(ids).losses(targets).mean() for _ in range(60)])
        theirs = []
        for _ in range(60):
            stock.reset()
            theirs.append(stock_loss(stock, ids, targets, alpha=0, beta=0))
        theirs = torch.stack(theirs)
    spread = (ours.var() / len(ours) + theirs.var() / len(theirs)).sqrt()
    assert (ours.mean() - theirs.mean()).abs() < 4 * spread
    assert 0.5 < ours.std() / theirs.std() < 2


def test_losses_and_hits_are_those_of_the_logits() -> None:
    model = make_model(ArchConfig(**SIZES)).eval()
    ids, targets = make_ids(3, 15), make_ids(3, 15, 1)
    out = model(ids)
    losses = out.losses(targets, smoothing=0.1, with_hits=True)
    logits = out.logits()
    expected = F.cross_entropy(
        logits.transpose(1, 2), targets, reduction="none", label_smoothing=0.1
    )
    assert torch.allclose(losses.losses, expected, atol=1e-5)
    assert torch.equal(losses.hits, logits.argmax(-1) == targets)


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("tied", [True, False])
def test_parameters_of_every_backbone(backbone: str, tied: bool) -> None:
    model = LanguageModel(ArchConfig(backbone, **SIZES, tie_weights=tied), N_VOCAB)
    names = dict(model.named_parameters())
    assert names["encoder.embedding.weight"].shape == (N_VOCAB, 40)
    assert names["decoder.bias"].shape == (N_VOCAB,)
    assert ("decoder.weight" in names) is not tied
    groups = model.layer_groups()
    assert len(groups) == SIZES["n_layers"] + 1
    grouped = [id(p) for group in groups for p in group]
    assert sorted(grouped) == sorted(map(id, names.values()))  # each in one group, once
    assert id(names["encoder.embedding.weight"]) in map(id, groups[-1])


@pytest.mark.parametrize("tied", [True, False])
def test_the_embeddings_gradient_is_dense_and_adds_up(tied: bool) -> None:
    """Over two batches without zeroing, alone and with the decoder's, in the same bits each time."""
    model = make_model(ArchConfig(**SIZES, **NO_DROPOUT, tie_weights=tied))
    weight = model.encoder.embedding.weight
    found = []
    for parts in ((0,), (1,), (0, 1), (0, 1)):
        model.zero_grad()
        for seed in parts:
            model(make_ids(4, 9, seed)).losses(make_ids(4, 9, seed + 5)).mean().backward()
        assert not weight.grad.is_sparse and weight.grad.is_contiguous()
        found.append(weight.grad.clone())
    assert torch.allclose(found[0] + found[1], found[2], atol=1e-6)
    assert torch.equal(found[2], found[3])
    model.zero_grad()
    model(make_ids(4, 9)).raw.square().mean().backward()  # no decoder in this loss
    rows = weight.grad.abs().sum(1).nonzero().flatten().tolist()
    assert not weight.grad.is_sparse and set(rows) <= set(make_ids(4, 9).flatten().tolist())


def test_a_frozen_embedding_gets_no_gradient() -> None:
    model = make_model(ArchConfig(**SIZES))
    model.encoder.embedding.weight.requires_grad_(False)
    model(make_ids(4, 9)).losses(make_ids(4, 9, 1)).mean().backward()
    assert model.encoder.embedding.weight.grad is None
    assert all(p.grad is not None for p in model.encoder.rnns.parameters())


def test_groups_are_fastais() -> None:
    model = make_model(ArchConfig(**SIZES))
    stock = stock_language_model(model)
    match = {id(theirs): id(ours) for theirs, ours in pairs(stock, model)}
    expected = [{match[id(p)] for p in group} for group in awd_lstm_lm_split(stock)]
    assert [{id(p) for p in group} for group in model.layer_groups()] == expected


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_backbone_learns(backbone: str) -> None:
    """Ids that follow each other in a circle are soon foreseen."""
    torch.manual_seed(0)
    model = LanguageModel(ArchConfig(backbone, 16, 32, 2, drop_mult=0), 20, precision="fp32")
    optimizer = torch.optim.Adam(model.parameters(), 2e-2)
    ids = (torch.arange(33) + torch.randint(20, (8, 1))) % 20
    for _ in range(40):
        loss = model(ids[:, :-1]).losses(ids[:, 1:]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 1  # chance is log(20) = 3


@pytest.mark.slow
def test_full_size_gradients_in_bfloat16() -> None:
    """The real widths over a whole window: rounding must not add up over 72 steps and 3 layers."""
    torch.manual_seed(0)
    model = LanguageModel(ArchConfig(drop_mult=0), 5000)
    ids = torch.randint(5000, (8, 73))
    losses, gradients = [], []
    for precision in ("fp32", "bf16"):
        model.encoder.precision = precision
        model.zero_grad()
        out = model(ids[:, :-1])
        loss = out.losses(ids[:, 1:]).mean()
        (loss + 2 * activation_reg(out.dropped) + temporal_reg(out.raw)).backward()
        losses.append(loss.item())
        gradients.append([p.grad.flatten().clone() for p in model.parameters()])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    for a, b in zip(*gradients):
        assert F.cosine_similarity(a, b, dim=0) >= 0.999
