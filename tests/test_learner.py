"""The Learner against stock fastai's: the same weights after the same batches, step for step."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fastai.callback.rnn import ModelResetter, RNNCallback, RNNRegularizer
from fastai.callback.training import GradientClip
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.optimizer import Adam
from fastai.text.models.awdlstm import awd_lstm_lm_split
from stock_lm import pairs, stock_language_model
from torch import nn
from torch.nn import functional as F

import ulmfit
from ulmfit.models.arch import DROPOUTS, ArchConfig
from ulmfit.models.language_model import LanguageModel
from ulmfit.models.regularisation import activation_reg, temporal_reg
from ulmfit.models.state import detach
from ulmfit.text.corpus import Corpus
from ulmfit.training.callbacks import Accumulate, CarryState, FollowPhases
from ulmfit.training.config import FinetuneConfig, PretrainConfig
from ulmfit.training.lm_learner import LMLearner, language_model_learner
from ulmfit.training.schedules import SHAPES, Phase, rates

pytestmark = pytest.mark.usefixtures("calm")

CALM = ArchConfig(emb_sz=24, n_hid=32, n_layers=3, **dict.fromkeys(DROPOUTS, 0.0))
CONFIG = PretrainConfig(
    bs=4, seq_len=12, epochs=1, jitter=False, precision="fp32", schedule="one_cycle", arch=CALM,
    lr=1e-2, clip=0.1, wd=0.0, eps=1e-5, decoupled_wd=True, activation_reg=2.0, temporal_reg=1.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    words = [f"word{i}" for i in range(40)]
    texts = [" ".join(words[(i * k) % 40] for k in range(30)) for i in range(1, 41)]
    out = tmp_path_factory.mktemp("learner") / "corpus"
    return ulmfit.prepare(texts, out, config=ulmfit.TextConfig(min_freq=1))


def learner(corpus: Corpus, **changes: object) -> LMLearner:
    learn = language_model_learner(corpus, config=replace(CONFIG, **changes))
    learn.remove_cbs([cb for cb in learn.cbs if cb.name == "progress"])
    return learn


def stock_learner(learn: LMLearner) -> Learner:
    """Make fastai's Learner of the same weights, batches and rates, as `language_model_learner` there does."""
    model = stock_language_model(learn.model)
    for layer in model[0].rnns:
        layer.weight_p = 1e-9  # drops nothing; stock fastai breaks at 0
    stock = Learner(
        learn.dls,
        model,
        loss_func=CrossEntropyLossFlat(),
        opt_func=lambda groups, lr: Adam(groups, lr=lr, sqr_mom=0.99, eps=1e-5, wd=0.0),
        splitter=awd_lstm_lm_split,
        cbs=[
            ModelResetter(),
            RNNCallback(),
            RNNRegularizer(alpha=2.0, beta=1.0),
            GradientClip(0.1),
        ],
        wd=0.0,
        moms=learn.moms,
    )
    return stock.remove_cbs([cb for cb in stock.cbs if cb.name == "progress"])


@pytest.mark.parametrize("frozen", [False, True])
def test_a_run_of_one_cycle_ends_with_fastais_weights(corpus: Corpus, frozen: bool) -> None:
    learn = learner(corpus)
    stock = stock_learner(learn)
    losses: dict[str, list[float]] = {}
    for name, one in (("stock", stock), ("ours", learn)):
        one.dls.train.epoch = 0
        if frozen:
            one.freeze()
        with one.no_logging():
            one.fit_one_cycle(1, slice(1e-3, 1e-2), div=25.0, moms=(0.8, 0.7, 0.8))
        losses[name] = [float(x) for x in one.recorder.losses]
    assert len(losses["ours"]) > 10
    assert losses["ours"] == pytest.approx(losses["stock"], abs=1e-5)
    before = learner(corpus).model
    moved = 0
    for (theirs, ours), (_, old) in zip(
        pairs(stock.model, learn.model), pairs(stock.model, before)
    ):
        assert (theirs - ours).abs().max() <= 2e-5
        moved += bool((ours - old).abs().max() > 1e-3)
    assert moved == (2 if frozen else len(list(learn.model.parameters())))


def test_phases_are_fastais_frozen_epoch_and_then_all(corpus: Corpus) -> None:
    """The same as freeze, fit_one_cycle, unfreeze, fit_one_cycle, whose second part begins with a fresh Adam."""
    shape = SHAPES["one_cycle"]
    phases = (
        Phase(1, 2e-2, "one_cycle", shape, n_unfrozen=1),
        Phase(2, 5e-3, "one_cycle", shape, factor=2.0),
    )
    one, other = learner(corpus), learner(corpus)
    with one.no_logging(), other.no_logging():
        one.fit_phases(phases)
        other.freeze()
        other.fit_one_cycle(1, 2e-2, moms=shape.moms)
        other.unfreeze()
        lrs = [5e-3 / 2.0**depth for depth in (3, 2, 1, 0)]
        other.fit_one_cycle(2, np.array(lrs), moms=shape.moms)
    for ours, theirs in zip(one.model.parameters(), other.model.parameters()):
        assert (ours - theirs).abs().max() <= 1e-6


def test_rates_are_set_before_every_step(corpus: Corpus) -> None:
    learn = learner(corpus, epochs=2, factor=2.6, accumulate=3)
    seen: list[tuple[float, ...]] = []

    class Spy(CarryState):
        name, order = "spy", 25

        def before_batch(self) -> None:
            if self.training:
                seen.append((*(g["lr"] for g in learn.opt.hypers), learn.opt.hypers[0]["mom"]))

        def after_pred(self) -> None:
            pass

    learn.add_cb(Spy())
    n = len(learn.dls.train)
    with learn.no_logging():
        learn.fit_phases()
    (phase,) = learn.phases()
    per_epoch = math.ceil(n / 3)
    assert len(seen) == 2 * n
    for batch, found in enumerate(seen):
        epoch, within = divmod(batch, n)
        now = rates(phase, epoch * per_epoch + within // 3, n_steps=2 * per_epoch, n_groups=4)
        assert found == pytest.approx((*now.lrs, now.momentum))


def by_hand(corpus: Corpus, model: LanguageModel, accumulate: int) -> None:
    """Train an epoch with a loop of one screen: what the callbacks have to be equal to."""
    learn = learner(corpus, accumulate=accumulate)
    optimiser = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.99), eps=1e-5, weight_decay=0.0)
    batches, state = list(learn.dls.train), None
    groups = [batches[i : i + accumulate] for i in range(0, len(batches), accumulate)]
    assert len(groups[-1]) != accumulate or accumulate == 1  # the last one is a smaller one
    for group in groups:
        optimiser.zero_grad()
        for ids, targets in group:
            output = model(ids, state)
            state = detach(output.state)
            logits = output.logits()
            loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
            loss = loss + 2 * activation_reg(output.dropped) + temporal_reg(output.raw)
            (loss / len(group)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimiser.param_groups[0]["lr"] = 1e-2
        optimiser.step()


@pytest.mark.parametrize("accumulate", [1, 5])
def test_an_epoch_is_that_of_a_plain_loop(corpus: Corpus, accumulate: int) -> None:
    learn = learner(
        corpus, accumulate=accumulate, schedule="flat", factor=1.0, moms=(0.9, 0.9, 0.9)
    )
    model = LanguageModel(CALM, len(corpus.vocab), precision="fp32")
    model.load_state_dict(learn.model.state_dict())
    by_hand(corpus, model, accumulate)
    with learn.no_logging():
        learn.fit_phases()
    for ours, theirs in zip(learn.model.parameters(), model.parameters()):
        assert (ours - theirs).abs().max() <= 1e-5
    assert any(isinstance(cb, Accumulate) for cb in learn.cbs) == (accumulate > 1)


def test_metrics_weigh_tokens_and_never_smooth(corpus: Corpus) -> None:
    learn = learner(corpus, label_smoothing=0.2, seq_len=13)
    with learn.no_logging():
        learn.validate()
    nats, hits, tokens, state = 0.0, 0, 0, None
    batches = list(learn.dls.valid)
    assert len({ids.shape for ids, _ in batches}) == 2  # the last batch is a smaller one
    with torch.no_grad():
        learn.model.eval()
        for ids, targets in batches:
            output = learn.model(ids, state)
            state = output.state
            logits = output.logits().flatten(0, 1)
            nats += F.cross_entropy(logits, targets.flatten(), reduction="sum").item()
            hits += int((logits.argmax(1) == targets.flatten()).sum())
            tokens += targets.numel()
    loss, accuracy, perplexity = learn.final_record
    assert loss == pytest.approx(nats / tokens, rel=1e-6)
    assert accuracy == pytest.approx(hits / tokens)
    assert perplexity == pytest.approx(math.exp(nats / tokens), rel=1e-5)


def test_a_smaller_last_row_of_state_is_no_trouble(corpus: Corpus) -> None:
    learn = learner(corpus)
    with learn.no_logging():
        learn.fit_phases()
        learn.validate()
    assert learn.carry_state.state[0][0].shape[0] == learn.dls.valid.bs


def test_finetuning_starts_from_the_transplanted_weights(
    corpus: Corpus, demo_corpus: Corpus, tmp_path
) -> None:
    from tiny_lm import write_tiny_lm

    from ulmfit.models.transplant import transplant

    parts = write_tiny_lm(tmp_path / "lm", demo_corpus)
    config = FinetuneConfig(bs=4, seq_len=12, epochs=1, drop_mult=0.5)
    learn = language_model_learner(corpus, parts.folder, config=config)
    expected = transplant(parts.weights, demo_corpus.vocab, corpus.vocab).weights
    for name, tensor in learn.model.state_dict().items():
        assert torch.equal(tensor, expected[name])
    assert learn.model.arch == replace(
        parts.arch, **{d: getattr(config, d) for d in DROPOUTS}, drop_mult=0.5
    )


def test_both_directions_are_no_learner(corpus: Corpus) -> None:
    with pytest.raises(ulmfit.UserError, match="one direction"):
        learner(corpus, direction="both")


def test_the_learning_rate_finder_runs(corpus: Corpus, tmp_path) -> None:
    learn = language_model_learner(corpus, config=CONFIG)
    learn.path = tmp_path
    before = [p.clone() for p in learn.model.parameters()]
    with learn.no_bar(), learn.no_logging():
        learn.lr_find(num_it=8, show_plot=False)
    assert all(torch.equal(a, b) for a, b in zip(before, learn.model.parameters()))


def test_follow_phases_knows_its_place() -> None:
    shape = SHAPES["flat"]
    follow = FollowPhases(
        [Phase(1, 1.0, "flat", shape), Phase(2, 1.0, "flat", shape)], first_epoch=3
    )
    assert [follow.place(epoch) for epoch in (3, 4, 5)] == [0, 1, 1]
    assert follow.n_epochs == 3


def test_what_a_notebook_trained_becomes_a_folder(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next stage takes it, and its weights are those of the Learner."""
    learn = learner(corpus)
    with learn.no_logging():
        learn.fit_one_cycle(1, 1e-2)
    lm = learn.save_model(tmp_path / "lm")
    for name, tensor in learn.model.state_dict().items():
        assert torch.equal(lm.parts.weights[name], tensor)
    assert lm.manifest.provenance.metrics["valid_loss"] == pytest.approx(learn.final_record[0])
    tuned = language_model_learner(corpus, lm, config=FinetuneConfig(bs=4, seq_len=12, epochs=1))
    assert tuned.parent == lm.parts.fingerprint
