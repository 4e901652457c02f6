"""What fastai's docs teach to do with a Learner: it gives here what it gives there, or is refused in one line."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from fastai.metrics import R2Score, mae, rmse
from tiny_lm import write_tiny_lm

import ulmfit
from ulmfit.errors import UserError
from ulmfit.models.threads import one_thread
from ulmfit.text.corpus import Corpus
from ulmfit.training.classifier_config import ClassifierConfig
from ulmfit.training.classifier_learner import ClassifierLearner
from ulmfit.training.config import FinetuneConfig
from ulmfit.training.learner import StageLearner
from ulmfit.training.lm_learner import LMLearner

LM = FinetuneConfig(bs=4, seq_len=12, min_batches=None, max_batches=2, max_valid=8)
CLASSIFIER = ClassifierConfig(bs=8, epochs=1, max_batches=2, n_labels=80, linear=None)


@pytest.fixture(scope="module", autouse=True)
def calm() -> Generator[None, None, None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def lm(demo_corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> ulmfit.LanguageModel:
    return ulmfit.load(write_tiny_lm(tmp_path_factory.mktemp("fastai") / "lm", demo_corpus).folder)


def quiet(learn: StageLearner) -> StageLearner:
    learn.remove_cbs([cb for cb in learn.cbs if cb.name == "progress"])
    learn.logger = lambda _: None
    return learn


def lm_learner(corpus: Corpus, lm: ulmfit.LanguageModel, **changes: object) -> LMLearner:
    return quiet(ulmfit.language_model_learner(corpus, lm, config=replace(LM, **changes)))


def classifier_learner(
    corpus: Corpus, lm: ulmfit.LanguageModel, **changes: object
) -> ClassifierLearner:
    return quiet(ulmfit.text_classifier_learner(corpus, lm, config=replace(CLASSIFIER, **changes)))


def test_wd_is_fastais_or_refused(demo_corpus: Corpus, lm: ulmfit.LanguageModel) -> None:
    """A step with decoupled decay is the one without it, less lr * wd of each weight."""
    ends = []
    for wd in (0.0, 0.1):
        learn = lm_learner(demo_corpus, lm, max_batches=1, decoupled_wd=True)
        begin = [weight.detach().clone() for weight in learn.model.parameters()]
        learn.fit(1, 1e-2, wd)
        ends.append(list(learn.model.parameters()))
    for first, without, decayed in zip(begin, *ends, strict=True):
        torch.testing.assert_close(decayed, without - 1e-2 * 0.1 * first, atol=1e-6, rtol=0)
    learn = lm_learner(demo_corpus, lm)
    for fit in (learn.fit, learn.fit_one_cycle, learn.fine_tune, learn.fit_flat_cos):
        with pytest.raises(UserError, match=r"replace\(config, decoupled_wd=True\)"):
            fit(1, wd=0.1)


def test_metrics_of_training_batches_point_to_validate(
    demo_corpus: Corpus, lm: ulmfit.LanguageModel
) -> None:
    learn = lm_learner(demo_corpus, lm)
    learn.recorder.train_metrics = True
    with pytest.raises(UserError, match=r"learn\.validate\(ds_idx=0\)"):
        learn.fit_one_cycle(1)


def test_metrics_of_fastai_see_numbers_in_their_unit(tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": [f"{n} fine films" for n in range(40)], "label": range(500, 540)})
    config = ulmfit.TextConfig(min_freq=1, label_kind="number")
    corpus = ulmfit.prepare(frame, tmp_path / "corpus", config=config)
    lm = ulmfit.load(write_tiny_lm(tmp_path / "lm", corpus).folder)
    learn = classifier_learner(corpus, lm, n_labels=None)
    learn.metrics = [mae, rmse, R2Score()]
    learn.fit(1)
    _, *found = learn.validate()
    answers, truth = learn.get_preds()
    assert corpus.labels is not None
    assert truth.tolist() == corpus.labels[learn.rows.valid].tolist()
    error = answers[:, 0] - truth
    variance = (truth - truth.mean()).square().mean()
    square = error.square().mean()
    assert found == pytest.approx(
        [float(error.abs().mean()), float(square.sqrt()), float(1 - square / variance)], rel=1e-4
    )
