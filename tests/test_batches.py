"""The loaders inside a real fastai Learner, and the promise that a pass can be resumed anywhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from fastai.callback.core import Callback, CancelFitException
from fastai.callback.schedule import Learner  # the Learner with fit_one_cycle and lr_find
from fastai.losses import CrossEntropyLossFlat
from torch import nn

from ulmfit.errors import UserError
from ulmfit.text import batches
from ulmfit.text.batches import classifier_dataloaders, lm_dataloaders
from ulmfit.text.holdout import Rows
from ulmfit.text.lm_stream import Position

VOCAB = [f"w{i}" for i in range(30)]


@dataclass(frozen=True)
class FakeCorpus:
    ids: np.ndarray
    offsets: np.ndarray
    labels: np.ndarray | None
    label_kind: str
    split: np.ndarray

    vocab = VOCAB
    label_names = ("short", "long")

    def rows(self, split):
        return np.flatnonzero(self.split == split)


def make_corpus(label_kind="category", n=120, longest=60):
    generator = np.random.default_rng(0)
    lengths = generator.integers(0, longest, n)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = generator.integers(2, len(VOCAB), offsets[-1]).astype(np.uint16)
    labels = {
        "none": None,
        "category": (lengths > longest // 2).astype(np.int32),
        "number": lengths.astype(np.float32),
        "multi": generator.integers(0, 2, (n, 3)).astype(np.uint8),
    }[label_kind]
    split = np.array(["train", "valid", "unsup", "train", "test", "train"])[np.arange(n) % 6]
    return FakeCorpus(ids, offsets, labels, label_kind, split)


class ToyLM(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.out = nn.Embedding(len(VOCAB), 8), nn.Linear(8, len(VOCAB))

    def forward(self, ids):
        return self.out(self.embed(ids))


class ToyClassifier(nn.Module):
    """Mean of the unpadded embeddings, then batch norm: fails on a batch of one row."""

    def __init__(self):
        super().__init__()
        self.embed, self.out = nn.Embedding(len(VOCAB), 8), nn.Linear(8, 2)
        self.norm = nn.BatchNorm1d(8)

    def forward(self, ids, lengths):
        is_text = torch.arange(ids.shape[1]) < lengths[:, None]
        return self.out(self.norm((self.embed(ids) * is_text[..., None]).sum(1) / lengths[:, None]))


def lm_learner(tmp_path, cbs=None, **options):
    dls = lm_dataloaders(
        make_corpus(), **{"bs": 4, "seq_len": 7, "device": "cpu", "path": tmp_path, **options}
    )
    return Learner(dls, ToyLM(), loss_func=CrossEntropyLossFlat(), cbs=cbs)


def classifier_learner(tmp_path, **options):
    options = {"bs": 9, "device": "cpu", "path": tmp_path, **options}
    dls = classifier_dataloaders(make_corpus(), **options)
    return Learner(dls, ToyClassifier(), loss_func=CrossEntropyLossFlat())


def values(batches):
    return [[part.tolist() for part in batch] for batch in batches]


class Seen(Callback):
    """Note the inputs of every training batch; stop after `stop_after` of them."""

    def __init__(self, stop_after=None):
        self.stop_after, self.inputs = stop_after, []

    def after_batch(self):
        if self.training:
            self.inputs.append(self.xb[0].tolist())
            if len(self.inputs) == self.stop_after:
                raise CancelFitException


def test_language_model_trains_in_a_learner(tmp_path):
    seen = Seen()
    learner = lm_learner(tmp_path, cbs=seen)
    learner.fit_one_cycle(2, 1e-2)
    n_batches = len(learner.dls.train)
    assert len(seen.inputs) == 2 * n_batches
    assert seen.inputs[:n_batches] != seen.inputs[n_batches:]
    assert learner.dls.train.epoch == 2
    assert np.isfinite(learner.recorder.values).all()


def test_language_model_labels_are_the_inputs_one_later():
    dls = lm_dataloaders(make_corpus(), bs=4, seq_len=7, device="cpu")
    x, y = dls.one_batch()
    assert x.shape == y.shape == (4, 7)
    assert (x[:, 1:] == y[:, :-1]).all()
    assert x.dtype == y.dtype == torch.int64
    assert x.is_contiguous()
    assert y.is_contiguous()
    assert (dls.bs, dls.n_inp, dls.train.n) == (4, 1, 4 * len(dls.train))


def test_training_stream_takes_train_and_unsup_and_never_test():
    corpus = make_corpus()
    dls = lm_dataloaders(corpus, bs=1, seq_len=7, device="cpu")
    rows = np.concatenate([corpus.rows("train"), corpus.rows("unsup")])
    assert dls.train.dataset.n_tokens == np.diff(corpus.offsets)[rows].sum()
    assert dls.valid.dataset.n_tokens == np.diff(corpus.offsets)[corpus.rows("valid")].sum()


def test_learning_rate_finder_leaves_the_training_order_alone(tmp_path):
    plain, after_finder = Seen(), Seen()
    lm_learner(tmp_path, cbs=plain).fit(1)
    learner = lm_learner(tmp_path)
    learner.lr_find(num_it=5, show_plot=False)
    learner.dls.show_batch()
    learner.fit(1, cbs=after_finder)
    assert after_finder.inputs == plain.inputs


@pytest.mark.parametrize("jitter", [False, True])
def test_training_resumes_at_the_batch_where_it_stopped(tmp_path, jitter):
    whole, before, after = Seen(), Seen(stop_after=5), Seen()
    lm_learner(tmp_path, cbs=whole, jitter=jitter).fit(2)
    stopped = lm_learner(tmp_path, cbs=before, jitter=jitter)
    stopped.fit(2)
    assert stopped.dls.train.state() == Position(epoch=0, batch=5)
    resumed = lm_learner(tmp_path, cbs=after, jitter=jitter)
    resumed.dls.train.resume(Position(epoch=0, batch=5))
    resumed.fit(2)
    assert before.inputs + after.inputs == whole.inputs


@pytest.mark.parametrize("make", [lm_dataloaders, classifier_dataloaders])
def test_position_is_right_before_within_and_after_a_pass(make):
    loader = make(make_corpus(), bs=4, device="cpu").train
    assert loader.state() == Position(0, 0)
    for number, _ in enumerate(loader):
        assert loader.state() == Position(0, number + 1)
    assert number + 1 == len(loader)
    assert loader.state() == Position(1, 0)
    loader.resume(Position(0, number + 1))  # saved after the last batch: nothing is left to read
    assert list(loader) == []
    assert loader.state() == Position(1, 0)


@pytest.mark.parametrize("make", [lm_dataloaders, classifier_dataloaders])
def test_looking_at_batches_changes_nothing_that_follows(make):
    loaders = [make(make_corpus(), bs=4, device="cpu").train for _ in range(2)]
    loaders[0].one_batch()
    loaders[0].show_batch()
    next(iter(loaders[0]))
    random_state = torch.random.get_rng_state()
    assert values(loaders[0]) == values(loaders[1])
    assert values(loaders[0]) == values(loaders[1])  # the next epoch
    assert torch.equal(torch.random.get_rng_state(), random_state)


@pytest.mark.parametrize("make", [lm_dataloaders, classifier_dataloaders])
def test_epoch_can_be_set(make):
    one, two = (make(make_corpus(), bs=4, device="cpu").train for _ in range(2))
    list(one)
    two.epoch = 1
    assert values(one) == values(two)


def test_position_of_another_corpus_is_refused():
    loader = lm_dataloaders(make_corpus(), bs=4, device="cpu").train
    with pytest.raises(UserError, match=r"cannot resume at batch 999 of the \d+ of epoch 0"):
        loader.resume(Position(0, 999))


@pytest.mark.parametrize("max_tokens", [None, 150])
def test_classifier_trains_in_a_learner(tmp_path, max_tokens):
    learner = classifier_learner(tmp_path, max_tokens=max_tokens)
    learner.fit_one_cycle(2, 1e-2)
    assert learner.dls.train.epoch == 2
    assert np.isfinite(learner.recorder.values).all()


@pytest.mark.parametrize("ds_idx", [0, 1])
def test_predictions_come_back_in_corpus_order(tmp_path, ds_idx):
    learner = classifier_learner(tmp_path)
    corpus = learner.dls.corpus
    predictions, labels = learner.get_preds(ds_idx=ds_idx)
    rows = corpus.rows(("train", "valid")[ds_idx])
    assert labels.tolist() == corpus.labels[rows].tolist()
    for row, prediction in zip(rows, predictions, strict=True):
        text = corpus.ids[corpus.offsets[row] : corpus.offsets[row + 1]].tolist() or [1]
        with torch.no_grad():
            alone = learner.model(torch.tensor([text]), torch.tensor([len(text)])).softmax(1)
        torch.testing.assert_close(prediction, alone[0], atol=1e-6, rtol=0)
    assert learner.dls.train.epoch == 0


def test_predictions_of_a_shuffled_loader_come_back_in_corpus_order_too(tmp_path):
    learner = classifier_learner(tmp_path)
    shuffled = learner.get_preds(dl=learner.dls.train)
    for ours, expected in zip(shuffled, learner.get_preds(ds_idx=0), strict=True):
        torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize(
    ("label_kind", "dtype", "shape"),
    [
        ("category", torch.int64, (9,)),
        ("number", torch.float32, (9,)),
        ("multi", torch.float32, (9, 3)),
    ],
)
def test_labels_have_the_type_their_loss_needs(label_kind, dtype, shape):
    dls = classifier_dataloaders(make_corpus(label_kind), bs=9, device="cpu")
    _, lengths, labels = dls.one_batch()
    assert (labels.dtype, labels.shape) == (dtype, shape)
    if label_kind == "number":  # the label of the fake corpus is the length of the document
        assert labels.tolist() == lengths.tolist()
    assert dls.n_inp == 2 and dls.c == (1 if label_kind == "number" else 2)


def test_unlabelled_documents_make_batches_without_labels():
    dls = classifier_dataloaders(make_corpus("none"), bs=9, device="cpu")
    assert len(dls.one_batch()) == dls.n_inp == 2
    assert list(dls.train.table().columns) == ["text"]


def test_documents_without_label_beside_others_that_have_one():
    corpus = make_corpus()
    corpus.labels[corpus.rows("unsup")] = -1
    dls = classifier_dataloaders(corpus, bs=9, valid="unsup", device="cpu")
    assert [len(batch) for batch in dls.valid] == [2] * len(dls.valid)
    assert len(dls.train.one_batch()) == 3
    assert list(dls.valid.table().columns) == ["text"]


def test_what_is_learnt_from_has_a_label():
    corpus = make_corpus()
    corpus.labels[corpus.rows("train")[::2]] = -1
    dls = classifier_dataloaders(corpus, bs=9, device="cpu")
    assert dls.train.items == corpus.rows("train")[1::2].tolist()
    assert all((labels >= 0).all() for *_, labels in dls.train)


def test_tables_show_the_words_and_not_the_padding(capsys):
    corpus = make_corpus()
    table = classifier_dataloaders(corpus, bs=9, device="cpu").valid.table(max_n=3)
    lengths = np.sort(np.diff(corpus.offsets)[corpus.rows("valid")])[::-1]
    assert [len(text.split()) for text in table["text"]] == lengths[:3].tolist()
    names = ["long" if n > 30 else "short" for n in lengths[:3]]
    assert table["label"].tolist() == names
    lm = lm_dataloaders(corpus, bs=4, seq_len=7, device="cpu")
    text, following = lm.train.table().iloc[0]
    assert text.split()[1:] == following.split()[:-1]
    lm.show_batch()
    assert text in " ".join(capsys.readouterr().out.split())


def test_a_single_split_may_be_named_as_it_is():
    corpus = make_corpus()
    named, listed = (
        lm_dataloaders(corpus, train=split, device="cpu") for split in ("valid", ("valid",))
    )
    assert values(named.train) == values(listed.train)


def test_empty_split_is_named():
    corpus = make_corpus()
    with pytest.raises(UserError, match="the tset split has no documents"):
        classifier_dataloaders(corpus, valid="tset")
    with pytest.raises(UserError, match="the tset split has 0 tokens"):
        lm_dataloaders(corpus, valid=("tset",))
    with pytest.raises(UserError, match="give it more text, or name another"):
        lm_dataloaders(corpus, valid=("tset",))
    with pytest.raises(UserError, match="no split is named: give one or more of train"):
        lm_dataloaders(corpus, train=())


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (lm_dataloaders, {"bs": 0}), (lm_dataloaders, {"seq_len": 0}), (lm_dataloaders, {"seed": -1}),
        (classifier_dataloaders, {"bs": 0}), (classifier_dataloaders, {"max_len": 0}),
        (classifier_dataloaders, {"max_tokens": -1}), (classifier_dataloaders, {"seed": -1}),
    ],
)  # fmt: skip
def test_wrong_sizes_are_named(make, wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(UserError, match=f"--{name.replace('_', '-')} is {value}; allowed: "):
        make(make_corpus(), device="cpu", **wrong)


def test_batches_go_to_the_device():
    dls = classifier_dataloaders(make_corpus(), device="meta")
    assert all(part.device.type == "meta" for part in dls.one_batch())
    dls.to("cpu")
    assert all(part.device.type == "cpu" for part in next(iter(dls.train)))


def test_an_apple_gpu_is_left_alone(monkeypatch):
    """Sums of losses are in float64, which it lacks, and its random generator is in no checkpoint."""
    monkeypatch.setattr(batches, "default_device", lambda: torch.device("mps", 0))
    for make in (lm_dataloaders, classifier_dataloaders):
        assert make(make_corpus()).device.type == "cpu"


def test_documents_named_one_by_one_replace_the_splits():
    corpus = make_corpus()
    rows = Rows(np.array([2, 5, 10]), np.array([1, 4]), "a notice")
    dls = lm_dataloaders(corpus, rows=rows, bs=1, seq_len=7, shuffle=False, device="cpu")
    for loader, expected in ((dls.train, rows.train), (dls.valid, rows.valid)):
        texts = [corpus.ids[corpus.offsets[r] : corpus.offsets[r + 1]] for r in expected]
        read = torch.cat([x[0] for x, _ in loader]).tolist()
        assert read == np.concatenate(texts).tolist()[:-1]


def test_a_few_documents_say_so_by_their_part():
    rows = Rows(np.array([2, 5]), np.array([1]), "")
    dls = lm_dataloaders(make_corpus(), rows=rows, bs=64, seq_len=7, device="cpu")
    assert dls.train.dataset.notice.startswith("the training split has only")
    assert dls.valid.dataset.notice.startswith("the validation split has only")
