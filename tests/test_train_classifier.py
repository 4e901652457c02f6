"""Stage 3 as a user runs it, on the embedded corpus: what it learns, what it writes, how it resumes, what it refuses."""

from __future__ import annotations

import csv
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from tiny_lm import write_tiny_lm
from torch import nn
from torch.nn import functional as F

import ulmfit
from ulmfit.errors import Stopped, UserError
from ulmfit.evaluation.documents import trial_of
from ulmfit.history import TrainingProgress
from ulmfit.inference.answers import decide
from ulmfit.models.classifier import Classifier as Module
from ulmfit.models.label_set import LabelSet
from ulmfit.stages.carry_over import carry_over
from ulmfit.text.corpus import Corpus
from ulmfit.training.classifier_config import ClassifierConfig
from ulmfit.training.classifier_learner import classifier_learner, text_classifier_learner
from ulmfit.training.config import FinetuneConfig
from ulmfit.training.lm_learner import language_model_learner
from ulmfit.training.losses import DocumentLoss, label_weights
from ulmfit.training.schedules import CLASSIFIER_SCHEDULES
from ulmfit.training.temperature import USUAL, WEIGHT

pytestmark = pytest.mark.usefixtures("calm")

CONFIG = ClassifierConfig(
    bs=8, seq_len=16, epochs=2, lr=1e-2, schedule="one_cycle", drop_mult=0.2, max_len=64, clip=1.0, valid_share=0.2
)  # fmt: skip
# The language models of these tests are noise, so what shall be learnt is learnt from scratch.
LEARNING = replace(CONFIG, epochs=20, lr=2e-2, factor=1.0, from_scratch=True, drop_mult=0.0)
MOODS = {"pos": "wonderful superb lovely", "neg": "dreadful boring awful"}


def silent(_: object) -> None:
    """Listen to a stage without a word."""


def rows(n: int, seed: int = 0) -> pd.DataFrame:
    """Reviews of a few filler words and one that tells the mood, somewhere."""
    draw = np.random.default_rng(seed)
    fillers, found = [f"word{i}" for i in range(30)], []
    for i in range(n):
        label = ("pos", "neg")[i % 2]
        words = list(draw.choice(fillers, draw.integers(5, 40)))
        words.insert(int(draw.integers(len(words))), draw.choice(MOODS[label].split()))
        found.append({"text": " ".join(words), "label": label, "split": "train"})
    return pd.DataFrame(found)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    frame = rows(160)
    frame.loc[150:, "split"] = "test"
    out = tmp_path_factory.mktemp("stage3") / "corpus"
    return ulmfit.prepare(frame, out, split="split", config=ulmfit.TextConfig(min_freq=1))


@pytest.fixture(scope="module")
def lm(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> ulmfit.LanguageModel:
    folder = tmp_path_factory.mktemp("stage2") / "lm"
    write_tiny_lm(folder, corpus)
    return ulmfit.LanguageModel.load(folder)


@pytest.fixture(scope="module")
def trained(
    lm: ulmfit.LanguageModel, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory
) -> ulmfit.Classifier:
    out = tmp_path_factory.mktemp("stage3") / "classifier"
    return ulmfit.train_classifier(lm, corpus, out, config=LEARNING, progress=silent)


def test_it_learns_what_there_is_to_learn(trained: ulmfit.Classifier) -> None:
    unseen = rows(60, seed=5)
    found = trained.predict(unseen["text"].tolist())
    assert (found == unseen["label"].to_numpy()).mean() > 0.85


def test_the_folder_is_whole(
    trained: ulmfit.Classifier, lm: ulmfit.LanguageModel, corpus: Corpus
) -> None:
    names = {path.name for path in trained.folder.iterdir()}
    assert names >= {
        "manifest.json",
        "labels.json",
        "history.csv",
        "steps.csv",
        "history.png",
        "README.md",
    }
    made = trained.manifest.provenance
    assert made.parent == lm.parts.fingerprint
    history = list(csv.DictReader((trained.folder / "history.csv").open()))
    assert made.metrics["valid_accuracy"] == float(history[-1]["accuracy"])
    assert trained.labels == corpus.label_names


def test_the_temperature_is_that_of_the_held_out_documents(
    trained: ulmfit.Classifier, lm: ulmfit.LanguageModel, corpus: Corpus
) -> None:
    """No other temperature is likelier, after the documents held out and the gamma density that stands for what is usual."""
    learn = classifier_learner(corpus, lm.parts, config=replace(CONFIG, direction="forward"))
    held_out = learn.rows.valid
    logits = trained.logits([corpus[row] for row in held_out.tolist()], "forward")
    truth = torch.from_numpy(corpus.labels[held_out]).long()

    def surprise(temperature: float) -> float:
        scaled = torch.from_numpy(logits) / temperature
        of_documents = F.cross_entropy(scaled, truth, reduction="sum").item()
        before = stats.gamma(a=WEIGHT + 1, scale=1 / (WEIGHT * USUAL)).logpdf(1 / temperature)
        return of_documents - float(before)

    best = surprise(trained.temperature)
    for factor in (0.051, 0.2, 0.7, 0.95, 1.05, 1.4, 4.0):
        assert best <= surprise(trained.temperature * factor) + 1e-4


def test_the_test_split_is_never_read(lm: ulmfit.LanguageModel, corpus: Corpus) -> None:
    learn = text_classifier_learner(corpus, lm, config=CONFIG)
    test = set(corpus.rows("test").tolist())
    assert not test & set(learn.rows.train.tolist()) and not test & set(learn.rows.valid.tolist())
    seen = learn.dls.train.dataset.rows
    assert not test & set(np.asarray(seen).tolist())


def test_an_epoch_is_that_of_a_plain_loop(lm: ulmfit.LanguageModel, corpus: Corpus) -> None:
    """Forward, cross entropy, penalties, clipping, Adam: nothing else happens."""
    from ulmfit.models.regularisation import activation_reg, temporal_reg

    config = replace(
        CONFIG,
        epochs=1,
        schedule="full",
        lr=2e-3,
        drop_mult=0.0,
        head_p=0.0,
        wd=0.0,
        precision="fp32",
        clip=0.5,
    )
    learn = text_classifier_learner(corpus, lm, config=config)
    learn.remove_cbs([cb for cb in learn.cbs if cb.name == "progress"])
    model = Module(learn.model.arch, len(corpus.vocab), precision="fp32")
    model.load_state_dict(learn.model.state_dict())
    optimiser = torch.optim.Adam(model.parameters(), 2e-3, betas=(0.7, 0.99), eps=1e-8)
    model.train()
    for ids, lengths, labels in list(learn.dls.train):
        output = model(ids, lengths)
        loss = F.cross_entropy(output.logits, labels)
        loss = loss + 2 * activation_reg(output.dropped, lengths=output.lengths)
        loss = loss + temporal_reg(output.raw, lengths=output.lengths)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimiser.step()
    learn.dls.train.epoch = 0
    with learn.no_logging():
        learn.fit_phases()
    for ours, theirs in zip(learn.model.parameters(), model.parameters()):
        assert (ours - theirs).abs().max() <= 1e-5


@pytest.mark.parametrize("schedule", CLASSIFIER_SCHEDULES)
def test_exactly_the_unfrozen_groups_move(
    lm: ulmfit.LanguageModel, corpus: Corpus, schedule: str
) -> None:
    """After every epoch: the parameters that changed are those of the groups that the phase names."""
    config = replace(CONFIG, schedule=schedule, epochs=1, n_labels=24, wd=0.0, lr=0.05, clip=None)
    learn = text_classifier_learner(corpus, lm, config=config)
    learn.remove_cbs([cb for cb in learn.cbs if cb.name == "progress"])
    groups = learn.model.layer_groups()
    n = len(groups)
    assert n == 4
    phases = [phase for phase in learn.phases() for _ in range(phase.epochs)]
    seen = []

    def snapshot() -> list[list[torch.Tensor]]:
        return [[p.detach().clone() for p in group] for group in groups]

    class Watch(type(learn.cbs[0])):
        name, order, run_valid = "watch", 90, True

        def before_epoch(self) -> None:
            self.before = snapshot()

        def after_epoch(self) -> None:
            moved = [
                any(not torch.equal(a, b) for a, b in zip(old, new))
                for old, new in zip(self.before, snapshot())
            ]
            seen.append(tuple(moved))

    learn.add_cb(Watch())
    with learn.no_logging():
        learn.fit_phases()
    assert seen == [phase.is_trainable(n) for phase in phases]


class Killed(BaseException):
    """As sudden as a kill, in the same process."""


@pytest.mark.parametrize("when", [5, 14])
def test_an_interrupted_run_ends_with_the_same_bits(
    lm: ulmfit.LanguageModel,
    corpus: Corpus,
    tmp_path: Path,
    when: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ulmfit.training.resume.MINUTES", 0.0)
    config = replace(
        CONFIG, schedule="freez_discr_stlr", epochs=1, n_labels=40, drop_mult=1.0, adversarial=0.02
    )
    whole = ulmfit.train_classifier(lm, corpus, tmp_path / "whole", config=config, progress=silent)
    seen = 0

    def die(_: object) -> None:
        nonlocal seen
        seen += 1
        if seen == when:
            raise Killed

    with pytest.raises(Killed):
        ulmfit.train_classifier(lm, corpus, tmp_path / "cut", config=config, progress=die)
    torch.manual_seed(99)
    resumed = ulmfit.train_classifier(lm, corpus, tmp_path / "cut", config=config, progress=silent)
    for name, tensor in whole.parts.weights["forward"].items():
        assert torch.equal(tensor, resumed.parts.weights["forward"][name]), name
    assert whole.temperature == resumed.temperature


def test_both_directions_make_one_classifier(corpus: Corpus, tmp_path: Path) -> None:
    from ulmfit.models.pair import save_language_model_pair

    for direction in ("forward", "backward"):
        write_tiny_lm(tmp_path / direction, corpus, direction=direction)
    settings = {"stage": "a test"}
    save_language_model_pair(
        tmp_path / "pair",
        forward=tmp_path / "forward",
        backward=tmp_path / "backward",
        settings=settings,
    )
    config = replace(CONFIG, n_labels=60)
    clf = ulmfit.train_classifier(
        tmp_path / "pair", corpus, tmp_path / "both", config=config, progress=silent
    )
    assert clf.directions == ("forward", "backward")
    texts = rows(6, seed=9)["text"].tolist()
    each = [clf.logits(clf.encode(texts), d) for d in clf.directions]
    probabilities = np.mean(
        [F.softmax(torch.from_numpy(x).double(), 1).numpy() for x in each], axis=0
    )
    tempered = F.softmax(torch.from_numpy(np.log(probabilities)) / clf.temperature, 1).numpy()
    assert np.abs(clf.predict_proba(texts) - tempered).max() < 1e-6
    assert {"valid_loss_forward", "valid_accuracy_backward", "valid_accuracy"} <= set(
        clf.manifest.provenance.metrics
    )
    again = ulmfit.train_classifier(
        tmp_path / "pair", corpus, tmp_path / "both", config=config, progress=silent
    )
    assert again.parts.fingerprint == clf.parts.fingerprint


@pytest.mark.parametrize("protocol", ["transductive", "as_published"])
def test_a_classifier_claims_no_cleaner_protocol_than_its_language_model(
    lm: ulmfit.LanguageModel, corpus: Corpus, tmp_path: Path, protocol: str
) -> None:
    config = FinetuneConfig(bs=4, seq_len=16, epochs=1, schedule="one_cycle", protocol=protocol)
    tuned = ulmfit.finetune_lm(lm, corpus, tmp_path / "tuned", config=config, progress=silent)
    assert tuned.manifest.provenance.protocol == protocol
    clf = ulmfit.train_classifier(tuned, corpus, tmp_path / "clf", config=CONFIG, progress=silent)
    assert clf.manifest.provenance.protocol == protocol
    learn = text_classifier_learner(corpus, tuned, config=CONFIG)
    assert learn.provenance().protocol == protocol


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill ends the process there")
def test_a_signal_after_the_last_batch_is_heeded(
    lm: ulmfit.LanguageModel, corpus: Corpus, tmp_path: Path
) -> None:
    config = replace(CONFIG, epochs=1)

    def stop(seen: TrainingProgress) -> None:
        if seen.epoch_row:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)  # the moment that Python needs to notice

    with pytest.raises(Stopped, match=r"stopped \(SIGTERM\) after the last epoch"):
        ulmfit.train_classifier(lm, corpus, tmp_path / "clf", config=config, progress=stop)
    said: list[TrainingProgress] = []
    ulmfit.train_classifier(lm, corpus, tmp_path / "clf", config=config, progress=said.append)
    assert not any(each.n_batches for each in said)  # nothing was left to learn


def test_what_a_language_model_has_seen_changes_no_instruction(
    lm: ulmfit.LanguageModel, corpus: Corpus, tmp_path: Path
) -> None:
    seen = FinetuneConfig(bs=4, seq_len=16, epochs=1, schedule="one_cycle", protocol="as_published")
    tuned = ulmfit.finetune_lm(lm, corpus, tmp_path / "lm", config=seen, progress=silent)
    learn = text_classifier_learner(corpus, tuned, config=CONFIG)
    assert not set(corpus.rows("test")) & {*learn.rows.train, *learn.rows.valid}
    config = replace(CONFIG, epochs=1)
    clf = ulmfit.train_classifier(tuned, corpus, tmp_path / "clf", config=config, progress=silent)
    made = clf.manifest.provenance
    assert made.protocol == learn.protocol == "as_published"
    assert made.config["config"]["protocol"] == "clean"


def test_no_later_stage_makes_a_language_model_clean_again(
    lm: ulmfit.LanguageModel, corpus: Corpus, tmp_path: Path
) -> None:
    config = FinetuneConfig(bs=4, seq_len=16, epochs=1, schedule="one_cycle")
    seen = replace(config, protocol="transductive")
    tuned = ulmfit.finetune_lm(lm, corpus, tmp_path / "seen", config=seen, progress=silent)
    again = ulmfit.finetune_lm(tuned, corpus, tmp_path / "again", config=config, progress=silent)
    carried = carry_over(tuned, corpus, tmp_path / "carried")
    for made in (again, carried):
        assert made.manifest.provenance.protocol == "transductive"
    learn = language_model_learner(corpus, tuned, config=config)
    assert not set(corpus.rows("test")) & {*learn.rows.train, *learn.rows.valid}
    assert learn.provenance().protocol == "transductive"


def test_a_vocabulary_of_test_texts_is_not_clean(lm: ulmfit.LanguageModel, tmp_path: Path) -> None:
    frame = rows(60)
    frame.loc[50:, "split"] = "test"
    text = ulmfit.TextConfig(min_freq=1, vocab_splits=("train", "test"))
    corpus = ulmfit.prepare(frame, tmp_path / "corpus", split="split", config=text)
    config = FinetuneConfig(bs=4, seq_len=16, epochs=1, schedule="one_cycle")
    tuned = ulmfit.finetune_lm(lm, corpus, tmp_path / "lm", config=config, progress=silent)
    clf = ulmfit.train_classifier(tuned, corpus, tmp_path / "clf", config=CONFIG, progress=silent)
    for made in (tuned, clf, carry_over(lm, corpus, tmp_path / "carried")):
        assert made.manifest.provenance.protocol == "transductive"


def test_as_published_is_measured_on_the_test_split_and_says_so(
    lm: ulmfit.LanguageModel, corpus: Corpus, tmp_path: Path
) -> None:
    config = replace(CONFIG, protocol="as_published", epochs=1)
    said: list[str] = []
    clf = ulmfit.train_classifier(
        lm, corpus, tmp_path / "clf", config=config, progress=lambda seen: said.append(str(seen))
    )
    learn = text_classifier_learner(corpus, lm, config=config)
    test = corpus.rows("test").tolist()
    assert learn.rows.valid.tolist() == test
    found = clf.logits([corpus[row] for row in test], "forward").argmax(1)
    accuracy = (found == corpus.labels[test]).mean()
    assert clf.manifest.provenance.metrics["valid_accuracy"] == pytest.approx(accuracy)
    card = (clf.folder / "README.md").read_text(encoding="utf-8")
    assert "- Protocol: as_published" in card and "clean test result" in card
    assert any("no figure on it is a clean test result" in line for line in said)
    trial = trial_of(clf, corpus, "test")
    assert trial.rows.tolist() == test and trial.given is not None
    assert not set(trial.given) & set(test)  # what the baselines learn from


def test_another_vocabulary_is_refused(corpus: Corpus, demo_corpus: Corpus, tmp_path: Path) -> None:
    write_tiny_lm(tmp_path / "lm", demo_corpus)
    with pytest.raises(UserError, match="finetune-lm"):
        ulmfit.train_classifier(
            tmp_path / "lm", corpus, tmp_path / "clf", config=CONFIG, progress=silent
        )
    assert not (tmp_path / "clf").exists()


def test_a_corpus_without_labels_is_refused(
    lm: ulmfit.LanguageModel, corpus: Corpus, tmp_path: Path
) -> None:
    bare = ulmfit.prepare(
        rows(20)["text"].tolist(), tmp_path / "corpus", config=ulmfit.TextConfig(min_freq=1)
    )
    write_tiny_lm(tmp_path / "lm", bare)
    with pytest.raises(UserError, match="no labels"):
        ulmfit.train_classifier(
            tmp_path / "lm", bare, tmp_path / "clf", config=CONFIG, progress=silent
        )


def test_from_scratch_takes_sizes_and_vocabulary_only(
    lm: ulmfit.LanguageModel, corpus: Corpus
) -> None:
    config = replace(CONFIG, from_scratch=True)
    learn = text_classifier_learner(corpus, lm, config=config)
    assert (
        learn.model.encoder.embedding.weight.shape
        == lm.parts.weights["encoder.embedding.weight"].shape
    )
    assert not torch.equal(
        learn.model.encoder.embedding.weight, lm.parts.weights["encoder.embedding.weight"]
    )


# ------------------------------------------------------------------ the loss


class Output:
    def __init__(self, logits: torch.Tensor) -> None:
        self.logits = logits


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_weights_and_smoothing_are_those_of_a_plain_loop(smoothing: float, weighted: bool) -> None:
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(7, 3, generator=draw, requires_grad=True)
    labels = torch.tensor([0, 1, 2, 2, 2, 1, 2])
    weights = torch.tensor([3.0, 1.5, 0.5]) if weighted else None
    total, norm = 0.0, 0.0
    for row, label in zip(logits.log_softmax(1), labels.tolist()):
        truth = [smoothing / 3 + (1 - smoothing) * (k == label) for k in range(3)]
        weight = 1.0 if weights is None else weights[label].item()
        total = total - weight * sum(t * row[k] for k, t in enumerate(truth))
        norm += weight
    loss = DocumentLoss("category", smoothing=smoothing, weights=weights)(Output(logits), labels)
    assert torch.allclose(loss, total / norm, atol=1e-6)


@pytest.mark.parametrize("kind", ["category", "multi"])
def test_weights_go_where_the_labels_are(kind: str) -> None:
    """As on a GPU: a meta tensor knows its device, and no values."""
    shape, dtype = ((4,), torch.long) if kind == "category" else ((4, 3), torch.float)
    labels = torch.zeros(shape, dtype=dtype, device="meta")
    weighted = DocumentLoss(kind, weights=torch.ones(3))
    loss = weighted._of_documents(labels)
    assert loss.device == labels.device and loss.shape == (4,)


def test_several_labels_and_numbers_have_their_own_losses() -> None:
    logits, labels = torch.randn(5, 3), torch.randint(2, (5, 3)).float()
    found = DocumentLoss("multi")(Output(logits), labels)
    assert torch.allclose(found, F.binary_cross_entropy_with_logits(logits, labels))
    values, truth = torch.randn(5, 1), torch.randn(5)
    assert torch.allclose(
        DocumentLoss("number")(Output(values), truth), F.mse_loss(values[:, 0], truth)
    )


@pytest.mark.parametrize("kind", ["category", "multi", "number"])
def test_documents_without_label_are_not_scored(kind: str) -> None:
    logits = torch.randn(4, 1 if kind == "number" else 3)
    labels = {
        "category": torch.tensor([2, -1, 0, -1]),
        "multi": torch.tensor([[1.0, 0, 1], [-1, -1, -1], [0, 0, 0], [-1, -1, -1]]),
        "number": torch.tensor([-1.5, torch.nan, 2.0, torch.nan]),
    }[kind]
    loss, known = DocumentLoss(kind), DocumentLoss(kind)
    with torch.no_grad():
        found = loss(Output(logits), labels)
        assert found == known(Output(logits[::2]), labels[::2])
        assert loss.sums == known.sums and loss.sums.documents == 2


def test_balanced_weights_give_every_label_the_same_say(
    corpus: Corpus, lm: ulmfit.LanguageModel
) -> None:
    learn = text_classifier_learner(corpus, lm, config=replace(CONFIG, class_weight="balanced"))
    weights = label_weights(corpus, learn.rows)
    counts = np.bincount(corpus.labels[learn.rows.train], minlength=2)
    assert weights.numpy() * counts == pytest.approx([counts.sum() / 2] * 2)


def test_held_out_texts_that_are_learnt_from_are_counted(tmp_path: Path) -> None:
    texts = [f"{word} film {n}" for n in range(10) for word in ("superb", "awful")]
    frame = pd.DataFrame({"text": texts, "label": ["good", "bad"] * 10, "split": "train"})
    again = frame[:3].assign(split="valid")
    fresh = pd.DataFrame({"text": ["dull"], "label": ["bad"], "split": ["valid"]})
    config = ulmfit.TextConfig(min_freq=1)
    source = pd.concat([frame, again, fresh])
    corpus = ulmfit.prepare(source, tmp_path / "corpus", split="split", config=config)
    lm = write_tiny_lm(tmp_path / "lm", corpus)
    notices = text_classifier_learner(corpus, lm.folder, config=LEARNING).notices()
    assert next(n for n in notices if "repeat" in n).startswith("3 of the documents measured on")
    alone = ulmfit.prepare(frame, tmp_path / "alone", split="split", config=config)
    lm = write_tiny_lm(tmp_path / "lm-alone", alone)
    assert not any(
        "repeat" in n for n in text_classifier_learner(alone, lm.folder, config=LEARNING).notices()
    )


def test_a_number_is_learnt_in_units_of_its_spread() -> None:
    logits, truth = torch.randn(9, 1), 300 + 40 * torch.randn(9)
    loss = DocumentLoss("number", centre=300.0, spread=40.0)
    torch.testing.assert_close(
        loss(Output(logits), truth), F.mse_loss(loss.shown(logits)[:, 0], truth) / 40**2
    )


@pytest.mark.parametrize("unit", [1.0, 1e6])
def test_prices_are_learnt_whatever_their_unit(unit: float, tmp_path: Path) -> None:
    """Far from 0 and of any size: better than the mean, and alike in every unit."""
    rows = [
        {"text": f"a {word} film {n}", "label": unit * (price + n % 3)}
        for n in range(40)
        for word, price in (("superb", 400), ("awful", 100))
    ]
    config = ulmfit.TextConfig(min_freq=1, label_kind="number")
    corpus = ulmfit.prepare(pd.DataFrame(rows), tmp_path / "corpus", config=config)
    lm = write_tiny_lm(tmp_path / "lm", corpus)
    learn = text_classifier_learner(corpus, lm.folder, config=LEARNING)
    with learn.no_bar(), learn.no_logging():
        learn.fit_phases()
        found, truth = learn.get_preds()
    saved = learn.save_model(tmp_path / "clf")
    assert not any("label_smoothing" in notice for notice in learn.notices())
    learn.config = replace(LEARNING, label_smoothing=0.1)
    assert any("label_smoothing" in notice for notice in learn.notices())
    documents = [corpus[row] for row in learn.rows.valid.tolist()]
    np.testing.assert_allclose(
        saved.probabilities(documents, precision="fp32"), found, rtol=1e-4, atol=1e-3 * unit
    )
    deviation = float((truth - truth.mean()).square().mean())
    assert float((found[:, 0] - truth).square().mean()) < 0.2 * deviation


@pytest.mark.parametrize("kind", ["multi", "number"])
def test_other_kinds_of_labels_train(kind: str, tmp_path: Path) -> None:
    frame = rows(60)
    if kind == "multi":
        frame["label"] = np.where(frame["label"] == "pos", "good;loud", "quiet")
        config = ulmfit.TextConfig(min_freq=1, label_delim=";")
    else:
        frame["label"] = np.where(frame["label"] == "pos", 1.5, -1.5)
        config = ulmfit.TextConfig(min_freq=1, label_kind="number")
    corpus = ulmfit.prepare(frame, tmp_path / "corpus", split="split", config=config)
    write_tiny_lm(tmp_path / "lm", corpus)
    clf = ulmfit.train_classifier(
        tmp_path / "lm", corpus, tmp_path / "clf", config=LEARNING, progress=silent
    )
    found = clf.predict_proba(frame["text"].tolist())
    if kind == "multi":
        assert clf.labels == ("good", "loud", "quiet")
        truth = frame["label"].str.contains("good").to_numpy()
        assert ((found[:, 0] > 0.5) == truth).mean() > 0.7
    else:
        assert np.corrcoef(found[:, 0], frame["label"])[0, 1] > 0.5


def test_a_fine_tuned_model_of_the_same_corpus_fits(
    lm: ulmfit.LanguageModel, corpus: Corpus, tmp_path: Path
) -> None:
    config = FinetuneConfig(bs=4, seq_len=16, epochs=1, schedule="one_cycle")
    tuned = ulmfit.finetune_lm(lm, corpus, tmp_path / "tuned", config=config, progress=silent)
    clf = ulmfit.train_classifier(tuned, corpus, tmp_path / "clf", config=CONFIG, progress=silent)
    assert clf.manifest.provenance.parent == tuned.parts.fingerprint


def test_what_a_notebook_trained_becomes_a_folder(
    lm: ulmfit.LanguageModel, corpus: Corpus, tmp_path: Path
) -> None:
    learn = text_classifier_learner(corpus, lm, config=CONFIG)
    learn.remove_cbs([cb for cb in learn.cbs if cb.name == "progress"])
    with learn.no_logging():
        learn.fit_phases()
    clf = learn.save_model(tmp_path / "clf")
    logits, _ = learn.valid_logits()
    documents = [corpus[row] for row in learn.rows.valid.tolist()]
    order = np.argsort([-len(d) for d in documents], kind="stable")
    assert np.abs(clf.logits(documents, "forward", precision="fp32")[order] - logits).max() < 0.02
    assert clf.predict(["wonderful word1"]).shape == (1,)


def test_a_label_holds_from_half_on_wherever_it_is_decided() -> None:
    loss, even = DocumentLoss("multi"), torch.zeros(1, 2)
    found = loss.activation(even)
    chosen = decide(found.numpy(), LabelSet("multi", ("a", "b")))
    assert loss.decodes(found).tolist() == [[True, True]] and chosen[0] == ("a", "b")
    with torch.no_grad():
        loss(Output(even), torch.ones(1, 2))
    assert loss.sums.hits == 1
