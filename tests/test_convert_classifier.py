"""Classifiers that stock fastai saved, against the answers of the learner that saved them."""

from __future__ import annotations

import json
import os
import pickle
import pickletools
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from fastai.data.core import Datasets
from fastai.data.transforms import Categorize
from fastai.text.data import Numericalize
from fastai.text.learner import TextLearner, text_classifier_learner
from fastai.text.models.awdlstm import AWD_LSTM
from fastcore.foundation import L
from fastcore.xtras import save_pickle
from stock_classifier import stock_alone
from stock_files import TOKENS, V1_TOKENS, WORDS, stock_learner, stock_model
from torch import Tensor, nn

from ulmfit.cli import main
from ulmfit.config import TextConfig
from ulmfit.errors import UserError
from ulmfit.inference.classifier import Classifier
from ulmfit.models.classifier_arch import PoolingConfig
from ulmfit.models.convert import convert_classifier
from ulmfit.models.foreign_classifier import read_foreign_classifier
from ulmfit.models.string_lists import read_string_lists

PLAIN = TextConfig(tokenizer="char")  # its tokenizer needs neither a model nor a second to build
LABELS = ["no", "perhaps", "yes"]
BPTT, MAX_LEN = 8, 20


def stock_dataloaders(tokens: list[str]) -> object:
    text = ["xxbos", *WORDS]
    tfms = [
        [lambda i: text, Numericalize(vocab=tokens)],
        [lambda i: LABELS[i % 3], Categorize()],
    ]
    data = Datasets(range(6), tfms=tfms, splits=[range(3), range(3, 6)])
    return data.dataloaders(bs=3, num_workers=0)


@pytest.fixture(scope="module")
def learner(tmp_path_factory: pytest.TempPathFactory) -> TextLearner:
    """A classifier with weights that differ everywhere, and what fastai knows beside them."""
    learn = text_classifier_learner(
        stock_dataloaders(TOKENS),
        AWD_LSTM,
        seq_len=BPTT,
        max_len=MAX_LEN,
        config={"emb_sz": 16, "n_hid": 24, "n_layers": 2},
        lin_ftrs=[30, 20],
        ps=[0.1, 0.0],
        pretrained=False,
        path=tmp_path_factory.mktemp("stock"),
    )
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in learn.model.parameters():
            parameter.uniform_(-0.6, 0.6, generator=generator)
        learn.model[0].module.encoder.weight.mul_(4)
        for module in learn.model.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.running_mean.uniform_(-0.5, 0.5, generator=generator)
                module.running_var.uniform_(0.5, 2, generator=generator)
    learn.model.cpu().eval()
    return learn


def documents() -> list[np.ndarray]:
    """Documents around the borders of chunks and of the pooled window, in no order."""
    rng = np.random.default_rng(0)
    lengths = [20, 3, 57, 21, 8, 16, 1, 29, 40]
    return [rng.integers(9, 9 + len(WORDS), n) for n in lengths]


def require_same(clf: Classifier, stock: nn.Module) -> None:
    """Compare answers in one batch with fastai's for each document alone."""
    found = clf.probabilities(documents(), precision="fp32")
    for document, row in zip(documents(), found):
        expected = stock_alone(stock, document.tolist()).softmax(0)
        np.testing.assert_allclose(row, expected.detach().numpy(), atol=1e-5, rtol=0)
    assert found.std(0).min() > 1e-3


@pytest.mark.parametrize("with_opt", [False, True])
@pytest.mark.parametrize("form", ["as it is", "lists", "json"])
@pytest.mark.filterwarnings("ignore")
def test_what_a_learner_saves(
    learner: TextLearner, tmp_path: Path, form: str, with_opt: bool
) -> None:
    learner.create_opt()
    weights = learner.save(tmp_path / "clf", with_opt=with_opt)
    vocab = tmp_path / ("vocab.json" if form == "json" else "vocab.pkl")
    lists = [list(part) for part in learner.dls.vocab]
    if form == "json":
        vocab.write_text(json.dumps(lists))
    else:
        save_pickle(vocab, learner.dls.vocab if form == "as it is" else lists)
    pooling = PoolingConfig(bptt=BPTT, max_len=MAX_LEN)
    parts = convert_classifier(
        weights, tmp_path / "out", vocab=vocab, config=PLAIN, pooling=pooling
    )
    clf = Classifier.load(parts.folder)
    assert clf.labels == tuple(LABELS) and list(clf.vocab) == TOKENS
    assert (clf.arch.widths(), clf.arch.head_bias) == ((48, 30, 20, 3), False)
    assert clf.directions == ("forward",) and "converted from clf.pth" in str(clf)
    require_same(clf, learner.model)


@pytest.mark.filterwarnings("ignore")
def test_the_verb_knows_a_classifier_by_its_tensors(
    learner: TextLearner, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = learner.save(tmp_path / "clf")
    save_pickle(tmp_path / "vocab.pkl", learner.dls.vocab)
    assert main(["convert", str(weights), "--out", str(tmp_path / "out")]) == 0
    assert "labels: no, perhaps, yes" in capsys.readouterr().out
    assert Classifier.load(tmp_path / "out").labels == tuple(LABELS)


def test_published_defaults_and_direction(learner: TextLearner, tmp_path: Path) -> None:
    weights = learner.save(tmp_path / "bwd_clf", with_opt=False)
    save_pickle(tmp_path / "tokens.pkl", learner.dls.vocab[0])
    parts = convert_classifier(weights, tmp_path / "out", labels=LABELS, config=PLAIN)
    assert parts.directions == ("backward",) and parts.arch.pooling == PoolingConfig(72, 1440)


class V1Head(nn.Module):
    """The head of fastai 1: one flat sequence, and linear layers with a bias."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm1d(48), nn.Dropout(0.2), nn.Linear(48, 9), nn.ReLU(),
            nn.BatchNorm1d(9), nn.Dropout(0.1), nn.Linear(9, 3),
        )  # fmt: skip
        self.load_state_dict(weights)


def test_fastai_v1(learner: TextLearner, tmp_path: Path) -> None:
    """Flat names, a bias, shadows of dropped weights, and the old order of the vocabulary."""
    generator = torch.Generator().manual_seed(1)
    shapes = V1Head.__new__(V1Head)
    nn.Module.__init__(shapes)
    head = OrderedDict()
    for at, n in ((0, 48), (4, 9)):
        for part in ("weight", "bias", "running_mean"):
            head[f"layers.{at}.{part}"] = torch.empty(n).uniform_(-0.6, 0.6, generator=generator)
        head[f"layers.{at}.running_var"] = torch.empty(n).uniform_(0.5, 2, generator=generator)
        head[f"layers.{at}.num_batches_tracked"] = torch.tensor(3)
    for at, n_in, n_out in ((2, 48, 9), (6, 9, 3)):
        shape = (n_out, n_in)
        head[f"layers.{at}.weight"] = torch.empty(shape).uniform_(-0.6, 0.6, generator=generator)
        head[f"layers.{at}.bias"] = torch.empty(n_out).uniform_(-0.6, 0.6, generator=generator)
    stock_head = V1Head(head).eval()

    encoder = {n: t for n, t in learner.model.state_dict().items() if n.startswith("0.")}
    encoder["0.module.encoder.weight"] = encoder["0.module.encoder.weight"][: len(V1_TOKENS)]
    encoder["0.module.encoder_dp.emb.weight"] = encoder["0.module.encoder.weight"]
    for name in [name for name in encoder if name.endswith("_raw")]:
        shadow = name.replace("weight_hh_l0_raw", "module.weight_hh_l0")
        encoder[shadow] = encoder[name] * 0.3
    named = {**encoder, **{f"1.{name}": tensor for name, tensor in head.items()}}
    torch.save({"model": named, "opt": {}}, tmp_path / "clf.pth")
    save_pickle(tmp_path / "itos.pkl", V1_TOKENS)
    parts = convert_classifier(tmp_path / "clf.pth", tmp_path / "out", labels=LABELS, config=PLAIN)
    assert parts.arch.head_bias and parts.arch.pooling == PoolingConfig(70, 1400)

    place = V1_TOKENS.index
    document = documents()[0]
    ids = torch.tensor([[place(parts.vocab[i]) for i in document]])
    stock = learner.model[0].module
    stock.reset()
    with torch.no_grad():
        hidden = stock(ids)[0]
        pooled = torch.cat([hidden[-1], hidden.amax(0), hidden.mean(0)])
        expected = stock_head.layers(pooled[None]).softmax(1)
    found = Classifier(parts).probabilities([document], precision="fp32")
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5, rtol=0)


def test_data_parallel_names_and_numbers(learner: TextLearner, tmp_path: Path) -> None:
    weights = {f"module.{n}": t for n, t in learner.model.state_dict().items()}
    last = max(n for n in weights if n.endswith("2.1.weight") or n.endswith("2.2.weight"))
    weights[last] = weights[last][:1]
    torch.save(weights, tmp_path / "clf.pth")
    save_pickle(tmp_path / "vocab.pkl", TOKENS)
    found = read_foreign_classifier(tmp_path / "clf.pth", tmp_path / "vocab.pkl")
    assert (found.labels.kind, found.labels.names) == ("number", ("number",))
    named = read_foreign_classifier(
        tmp_path / "clf.pth", tmp_path / "vocab.pkl", labels=["is so"], label_kind="multi"
    )
    assert (named.labels.kind, named.labels.names) == ("multi", ("is so",))


# --- what is refused


def test_what_does_not_belong_together(learner: TextLearner, tmp_path: Path) -> None:
    weights = learner.save(tmp_path / "clf", with_opt=False)

    def convert(vocab: object, **more: object) -> None:
        save_pickle(tmp_path / "vocab.pkl", vocab)
        convert_classifier(weights, tmp_path / "out", config=PLAIN, **more)

    with pytest.raises(UserError, match=r"3 outputs, and .*vocab.pkl has 0 labels"):
        convert(TOKENS)
    with pytest.raises(UserError, match="has 2 labels"):
        convert([TOKENS, LABELS], labels=["a", "b"])
    with pytest.raises(UserError, match="the weights know 24 tokens and the vocabulary has 23"):
        convert([TOKENS[:-1], LABELS])
    with pytest.raises(UserError, match="holds no list of tokens"):
        convert([1, 2, 3])
    assert not (tmp_path / "out").exists()


def test_a_language_model_has_no_head(tmp_path: Path) -> None:
    learn = stock_learner(tmp_path, stock_model(len(TOKENS), n_layers=2), TOKENS)
    weights = learn.save("lm", with_opt=False)
    save_pickle(tmp_path / "vocab.pkl", TOKENS)
    with pytest.raises(UserError, match="holds no classifier's head"):
        read_foreign_classifier(weights, tmp_path / "vocab.pkl")


# --- lists in pickles


class Evil:
    """Make a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("protocol", range(6))
def test_lists_are_found_and_nothing_is_run(tmp_path: Path, protocol: int) -> None:
    tokens = [f"w{i}" for i in range(2500)]  # more than one batch of a pickle
    path, folder = tmp_path / "vocab.pkl", tmp_path / "made"
    content = [Evil(folder), L([tokens, ["w1", "b"]]), {"a": [1, "x"]}]
    path.write_bytes(pickle.dumps(content, protocol))
    assert read_string_lists(path) == [tokens, ["w1", "b"]]
    assert not folder.exists()
    pickle.loads(path.read_bytes())
    assert folder.exists()  # it would have been


def test_damaged_pickles_are_refused(tmp_path: Path) -> None:
    path, whole = tmp_path / "vocab.pkl", pickle.dumps([["a", "b"], ["c"]])
    rng = np.random.default_rng(0)
    for cut in range(len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(UserError, match="not a pickle that can be followed"):
            read_string_lists(path)
    known = {ord(op.code) for op in pickletools.opcodes}
    for _ in range(300):  # noise of real operations: an answer or one line, never a crash
        path.write_bytes(bytes(rng.choice(sorted(known), 40).tolist()))
        try:
            read_string_lists(path)
        except UserError as error:
            assert "\n" not in str(error)
    with pytest.raises(UserError, match="cannot read the vocabulary"):
        read_string_lists(tmp_path / "none.pkl")
