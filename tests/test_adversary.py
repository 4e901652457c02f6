"""Adversarial training: against finite differences, closed formulas, and the two gradients computed apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fastai.callback.core import Callback, CancelBatchException
from tiny_classifier import LM_ARCH, tiny_weights
from tiny_lm import write_tiny_lm
from torch import Tensor
from torch.nn import functional as F

import ulmfit
from ulmfit.models.classifier import Classifier
from ulmfit.models.classifier_arch import ClassifierArch, PoolingConfig
from ulmfit.text.corpus import Corpus
from ulmfit.training.classifier_config import ClassifierConfig
from ulmfit.training.classifier_learner import ClassifierLearner, text_classifier_learner

pytestmark = pytest.mark.usefixtures("calm")

N_VOCAB, SHARE = 40, 0.02
LENGTHS = torch.tensor([7, 30, 1, 18])
LABELS = torch.tensor([0, 1, 1, 0])


@pytest.fixture(params=["awd_lstm", "qrnn"])
def model(request: pytest.FixtureRequest) -> Classifier:
    """A classifier without dropout that pools the last 16 tokens or a few more, in chunks of 8."""
    encoder = replace(LM_ARCH, backbone=request.param, drop_mult=0.0)
    pooling = PoolingConfig(bptt=8, max_len=16, detach_chunks=False)
    arch = replace(ClassifierArch.of(encoder, 2), encoder=encoder, head_p=0.0, pooling=pooling)
    built = Classifier(arch, N_VOCAB, precision="fp32")
    weights = tiny_weights(arch, N_VOCAB)
    built.load_state_dict({name: 0.4 * tensor for name, tensor in weights.items()})
    return built.eval()


def documents() -> Tensor:
    return torch.randint(9, N_VOCAB, (4, 30), generator=torch.Generator().manual_seed(0))


def test_a_nudge_moves_its_own_document_where_it_is_pooled(model: Classifier) -> None:
    ids = documents()
    still = model(ids, LENGTHS).logits
    torch.testing.assert_close(model(ids, LENGTHS, torch.zeros(4, 30, 16)).logits, still)
    for row, place, moves in ((0, 3, True), (0, 7, False), (1, 2, False), (1, 29, True)):
        nudge = torch.zeros(4, 30, 16)
        nudge[row, place] = 0.5
        change = (model(ids, LENGTHS, nudge).logits - still).abs().sum(1)
        assert (change[row] > 1e-4) == moves
        assert change[torch.arange(4) != row].max() == 0


def test_its_gradient_is_that_of_finite_differences(model: Classifier) -> None:
    ids, model = documents(), model.double()
    nudge = torch.zeros(4, 30, 16, dtype=torch.float64, requires_grad=True)
    F.cross_entropy(model(ids, LENGTHS, nudge).logits, LABELS).backward()
    way = torch.randn(4, 30, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def loss(far: float) -> float:
        return F.cross_entropy(model(ids, LENGTHS, far * way).logits, LABELS).item()

    assert nudge.grad is not None
    slope = (loss(1e-5) - loss(-1e-5)) / 2e-5
    assert float((nudge.grad * way).sum()) == pytest.approx(slope, rel=1e-5)


# --- in training


class Watch(Callback):
    """Keep what the model was given while it learnt, and the gradients of a step, which is not taken."""

    order = 50

    def before_fit(self) -> None:
        self.given: list[tuple[Tensor, ...]] = []
        self.hook = self.model.register_forward_pre_hook(self.keep)

    def keep(self, model: Classifier, given: tuple[Tensor, ...]) -> None:
        if model.training:
            self.given.append(given)

    def before_step(self) -> None:
        self.gradients = {name: w.grad.clone() for name, w in self.model.named_parameters()}
        raise CancelBatchException

    def after_fit(self) -> None:
        self.hook.remove()


CONFIG = ClassifierConfig(
    bs=4, seq_len=16, epochs=1, max_batches=1, schedule="one_cycle", drop_mult=0.0, head_p=0.0, max_len=32,
    activation_reg=0.0, temporal_reg=0.0, clip=None, adversarial=SHARE, label_smoothing=0.1, precision="fp32",
)  # fmt: skip


@pytest.fixture(scope="module")
def lm(demo_corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_lm(tmp_path_factory.mktemp("lm") / "lm", demo_corpus).folder


def learner(corpus: Corpus, lm: Path, **changed: object) -> ClassifierLearner:
    learn = text_classifier_learner(corpus, lm, config=replace(CONFIG, **changed))  # ty: ignore[invalid-argument-type]
    learn.model.encoder.precision = "fp32"
    return learn


def watched(learn: ClassifierLearner) -> Watch:
    watch = Watch()
    with learn.no_bar(), learn.no_logging():
        learn.fit_phases(cbs=[watch])
    return watch


@pytest.mark.parametrize("n_batches", [1, 2])
def test_a_step_has_the_gradients_of_both_readings(
    demo_corpus: Corpus, lm: Path, n_batches: int
) -> None:
    def learner_of_two() -> ClassifierLearner:
        return learner(demo_corpus, lm, accumulate=n_batches, max_batches=n_batches)

    learn = learner_of_two()
    before = {name: tensor.clone() for name, tensor in learn.model.state_dict().items()}
    watch = watched(learn)
    model, embedding = learn.model, learn.model.encoder.embedding.weight
    model.load_state_dict(before)
    model.train()
    model.zero_grad()
    given = iter(watch.given)
    for (ids, lengths, labels), (*_, nothing), (*_, moved) in zip(
        learner_of_two().dls.train, given, given, strict=True
    ):
        assert not nothing.any() and not moved.requires_grad
        nudge = torch.zeros_like(moved, requires_grad=True)
        first = F.cross_entropy(model(ids, lengths, nudge).logits, labels, label_smoothing=0.1)
        (first / n_batches).backward()
        assert nudge.grad is not None
        for row, (size, gradient) in enumerate(zip(lengths.tolist(), nudge.grad)):
            pooled = slice(max(0, -(-(size - 32) // 16)) * 16, size)
            length = embedding.detach()[ids[row, pooled]].norm()
            torch.testing.assert_close(moved[row], SHARE * length * gradient / gradient.norm())
        second = F.cross_entropy(model(ids, lengths, moved).logits, labels, label_smoothing=0.1)
        (second / n_batches).backward()
        assert second > first
    for name, weight in model.named_parameters():
        torch.testing.assert_close(watch.gradients[name], weight.grad)


def test_nothing_is_moved_that_is_measured(demo_corpus: Corpus, lm: Path) -> None:
    learn = learner(demo_corpus, lm)
    seen: list[int] = []
    hook = learn.model.register_forward_pre_hook(lambda _, given: seen.append(len(given)))
    with learn.no_bar():
        learn.validate()
        learn.get_preds()
    hook.remove()
    assert set(seen) == {2}


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_share_is_below_one(share: float) -> None:
    with pytest.raises(ulmfit.UserError, match="--adversarial is"):
        ClassifierConfig(adversarial=share)
