"""What fastai's docs teach to do with a Learner: it gives here what it gives there, or is refused in one line."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from fastai.callback.core import Callback
from fastai.callback.training import GradientAccumulation, GradientClip
from fastai.interpret import ClassificationInterpretation
from fastai.metrics import F1Score, Perplexity, R2Score, accuracy, mae, rmse, top_k_accuracy
from sklearn.metrics import classification_report
from tiny_lm import write_tiny_lm

import ulmfit
from ulmfit.errors import UserError
from ulmfit.models.language_model import LMOutput
from ulmfit.text.batches import classifier_dataloaders, lm_dataloaders
from ulmfit.text.corpus import Corpus
from ulmfit.text.vocab import Vocab
from ulmfit.training.classifier_config import ClassifierConfig
from ulmfit.training.classifier_learner import ClassifierLearner
from ulmfit.training.config import FinetuneConfig
from ulmfit.training.learner import StageLearner
from ulmfit.training.lm_learner import LMLearner
from ulmfit.training.refused import CALLBACKS

pytestmark = pytest.mark.usefixtures("calm")

LM = FinetuneConfig(bs=4, seq_len=12, min_batches=None, max_batches=2, max_valid=8)
CLASSIFIER = ClassifierConfig(bs=8, epochs=1, max_batches=2, n_labels=80, linear=None)


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


def test_loaders_of_other_words_or_another_direction_are_refused(
    demo_corpus: Corpus, lm: ulmfit.LanguageModel
) -> None:
    tokens = list(demo_corpus.vocab)
    other = replace(demo_corpus, vocab=Vocab([*tokens[:-2], tokens[-1], tokens[-2]]))
    same = replace(demo_corpus, vocab=Vocab(tokens))
    for learn, loaders in (
        (lm_learner(demo_corpus, lm), partial(lm_dataloaders, bs=4)),
        (classifier_learner(demo_corpus, lm), classifier_dataloaders),
    ):
        assert len(learn.validate(dl=loaders(same, valid="test").valid))
        asks = [learn.validate, *([] if isinstance(learn, LMLearner) else [learn.get_preds])]
        for ask in asks:
            with pytest.raises(UserError, match=r"vocabulary is not that of .*save_model\(OUT\)"):
                ask(dl=loaders(other, valid="test").valid)
            with pytest.raises(UserError, match=r"make it with direction='forward'"):
                ask(dl=loaders(demo_corpus, valid="test", direction="backward").valid)


@pytest.mark.parametrize("size", [{"max_batches": 2}, {"max_batches": None, "min_batches": 30}])
def test_training_documents_are_answered_once_and_in_order(
    demo_corpus: Corpus, lm: ulmfit.LanguageModel, size: dict[str, int]
) -> None:
    learn = classifier_learner(demo_corpus, lm, **size)
    rows = learn.rows.train
    answers, truth = learn.get_preds(dl=learn.dls.train)
    assert demo_corpus.labels is not None
    assert truth.tolist() == demo_corpus.labels[rows].tolist()
    learn.model.eval()
    for row, answer in zip(rows[:5].tolist(), answers):
        ids = torch.from_numpy(demo_corpus[row].astype(np.int64))[None]
        alone = learn.model(ids, torch.tensor([ids.shape[1]])).logits.softmax(1)[0]
        torch.testing.assert_close(answer, alone, atol=1e-4, rtol=0)
    matrix = ClassificationInterpretation.from_learner(learn, dl=learn.dls.train).confusion_matrix()
    assert matrix.sum() == len(rows)


def test_measuring_uses_up_no_epoch(demo_corpus: Corpus, lm: ulmfit.LanguageModel) -> None:
    for make in (lm_learner, classifier_learner):
        learn = make(demo_corpus, lm)
        loss = learn.validate(ds_idx=0)[0]
        assert learn.validate(ds_idx=0)[0] == loss and learn.dls.train.epoch == 0


@pytest.mark.parametrize("kind", CALLBACKS)
def test_callbacks_that_cannot_work_say_why(
    kind: type[Callback], demo_corpus: Corpus, lm: ulmfit.LanguageModel
) -> None:
    for learn in (lm_learner(demo_corpus, lm), classifier_learner(demo_corpus, lm)):
        names = [cb.name for cb in learn.cbs]
        for given in (kind, kind()):
            with pytest.raises(UserError, match=f"^{kind.__name__} has no place here: "):
                learn.fit_one_cycle(1, cbs=[given])
        assert [cb.name for cb in learn.cbs] == names
        learn.fit(1, cbs=GradientClip(0.1))


def test_batches_are_not_added_up_twice(demo_corpus: Corpus, lm: ulmfit.LanguageModel) -> None:
    config = replace(CLASSIFIER, accumulate=2)
    twice = ulmfit.text_classifier_learner(demo_corpus, lm, config=config)
    with pytest.raises(UserError, match="accumulate in the config adds up 2 batches already"):
        twice.fit(1, cbs=GradientAccumulation(16))
    classifier_learner(demo_corpus, lm).fit(1, cbs=GradientAccumulation(16))


def test_a_report_is_that_of_scikit_learn(
    demo_corpus: Corpus, lm: ulmfit.LanguageModel, capsys: pytest.CaptureFixture[str]
) -> None:
    learn = classifier_learner(demo_corpus, lm)
    interpretation = ClassificationInterpretation.from_learner(learn)
    assert interpretation.vocab == demo_corpus.label_names
    interpretation.print_classification_report()
    _, truth, answers = learn.get_preds(with_decoded=True)
    names = list(demo_corpus.label_names)
    expected = classification_report(truth, answers, labels=range(len(names)), target_names=names)
    assert capsys.readouterr().out.strip() == expected.strip()


def test_the_largest_losses_are_those_of_the_documents_named(
    demo_corpus: Corpus, lm: ulmfit.LanguageModel
) -> None:
    learn = classifier_learner(demo_corpus, lm)
    interpretation = ClassificationInterpretation.from_learner(learn)
    losses, _, rows = interpretation.top_losses(3, items=True)
    assert demo_corpus.labels is not None
    for loss, row in zip(losses, rows, strict=True):
        ids = torch.from_numpy(demo_corpus[row].astype(np.int64))[None]
        with torch.no_grad():
            logits = learn.model.eval()(ids, torch.tensor([ids.shape[1]])).logits
        truth = torch.tensor([int(demo_corpus.labels[row])])
        torch.testing.assert_close(
            loss, torch.nn.functional.cross_entropy(logits, truth), atol=1e-4, rtol=0
        )


@pytest.mark.parametrize("largest", [True, False])
def test_the_largest_losses_as_a_table(
    demo_corpus: Corpus, lm: ulmfit.LanguageModel, largest: bool
) -> None:
    learn = classifier_learner(demo_corpus, lm)
    found = learn.top_losses(4, largest=largest)
    interpretation = ClassificationInterpretation.from_learner(learn)
    assert found["loss"].tolist() == interpretation.top_losses(4, largest=largest)[0].tolist()
    _, _, answers = learn.get_preds(with_decoded=True)
    places = {row: place for place, row in enumerate(learn.rows.valid.tolist())}
    said = {row: int(answers[place]) for row, place in places.items()}
    for _, line in found.iterrows():
        words = line["text"].split()
        assert len(words) > 1 and words == demo_corpus.tokens(line["document"])[: len(words)]
        assert line["loss"] == interpretation.losses[places[line["document"]]]
        assert line["label"] == demo_corpus.label(line["document"])
        assert line["answer"] == demo_corpus.label_names[said[line["document"]]]
    assert len(learn.top_losses(10**6)) == len(learn.rows.valid)
    with pytest.raises(UserError, match=r"learn\.top_losses\(9\) shows the documents"):
        interpretation.plot_top_losses(3)


def test_metrics_of_fastai_see_the_logits_of_a_language_model(
    demo_corpus: Corpus, lm: ulmfit.LanguageModel
) -> None:
    """Compared with a loop that weighs batches alike, as fastai does."""
    metrics = [accuracy, partial(top_k_accuracy, k=50), F1Score(average="micro"), Perplexity()]
    learn = ulmfit.language_model_learner(demo_corpus, lm, config=LM, metrics=metrics)
    quiet(learn).fit(1)
    found = list(learn.validate()[3:])
    learn.model.eval()
    state, hits, losses = None, [], []
    for ids, following in learn.dls.valid:
        output = learn.model(ids, state)
        state, truth = output.state, following.flatten()
        logits = output.logits().detach().flatten(0, 1)
        hits.append(logits.topk(50).indices == truth[:, None])
        losses.append(torch.nn.functional.cross_entropy(logits, truth))
    expected = [
        np.mean([own[:, 0].float().mean() for own in hits]),
        np.mean([own.any(1).float().mean() for own in hits]),
        torch.cat(hits)[:, 0].float().mean(),
        np.exp(np.mean(losses)),
    ]
    assert found == pytest.approx([float(value) for value in expected], rel=1e-3)
    assert 0 < found[0] < found[1] < 1


def test_only_a_metric_that_needs_logits_gets_them(
    demo_corpus: Corpus, lm: ulmfit.LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn = ulmfit.language_model_learner(demo_corpus, lm, config=LM, metrics=Perplexity())
    monkeypatch.setattr(LMOutput, "logits", lambda _: pytest.fail("the whole vocabulary"))
    quiet(learn).validate()


class CountEpochs(Callback):
    n = 0

    def after_epoch(self) -> None:
        self.n += 1


def test_metrics_and_callbacks_stand_beside_ours(
    demo_corpus: Corpus, lm: ulmfit.LanguageModel
) -> None:
    for make, config in (
        (ulmfit.language_model_learner, LM),
        (ulmfit.text_classifier_learner, CLASSIFIER),
    ):
        plain = make(demo_corpus, lm, config=config)
        learn = make(demo_corpus, lm, config=config, metrics=accuracy, cbs=GradientClip(0.1))
        names = [metric.name for metric in learn.metrics]
        assert names == [*(metric.name for metric in plain.metrics), "accuracy"]
        assert {cb.name for cb in learn.cbs} == {cb.name for cb in plain.cbs} | {"gradient_clip"}
        counted = CountEpochs()
        quiet(learn).fit_phases(cbs=counted)
        assert counted.n == sum(phase.epochs for phase in learn.phases())


def test_a_learner_is_born_unfrozen(demo_corpus: Corpus, lm: ulmfit.LanguageModel) -> None:
    for make in (lm_learner, classifier_learner):
        learn = make(demo_corpus, lm)
        assert all(weight.requires_grad for weight in learn.model.parameters())
        learn.freeze()
        frozen = [not group[0].requires_grad for group in learn.model.layer_groups()]
        assert frozen == [True] * (len(frozen) - 1) + [False]


def test_what_is_no_corpus_is_refused(demo_frame: pd.DataFrame, lm: ulmfit.LanguageModel) -> None:
    for wrong in (demo_frame, ["a fine film"], None):
        for make in (ulmfit.language_model_learner, ulmfit.text_classifier_learner):
            with pytest.raises(UserError, match=r"is no corpus: ulmfit\.prepare\(texts, OUT\)"):
                make(wrong, lm)


def test_loaders_count_their_documents(demo_corpus: Corpus, lm: ulmfit.LanguageModel) -> None:
    for make in (lm_learner, classifier_learner):
        learn = make(demo_corpus, lm)
        found = len(learn.dls.train_ds), len(learn.dls.valid_ds)
        assert found == (len(learn.rows.train), len(learn.rows.valid))
