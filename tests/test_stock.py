"""What stock fastai would need: the pace is its own model's, and the sums are those of the trainings."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fastai.text.data import Pad_Chunk, TensorText

from ulmfit.errors import UserError
from ulmfit.files import CLASSIFIER
from ulmfit.history import read_history
from ulmfit.models.arch import ArchConfig
from ulmfit.models.threads import one_thread
from ulmfit.recipe import PRETRAINED
from ulmfit.reproduction import beside_stock
from ulmfit.reproduction.plan import Experiment
from ulmfit.reproduction.reproduce import reproduce
from ulmfit.text.corpus import Corpus
from ulmfit.text.vocab import PAD_ID
from ulmfit.training import pace
from ulmfit.training.pace import Pace
from ulmfit.training.presets import CLASSIFIER_PRESETS, FINETUNE_PRESETS, PRETRAIN_PRESETS
from ulmfit.training.stock import _padded, stock_classifier_pace, stock_lm_pace

ARCH = ArchConfig(emb_sz=16, n_hid=24, n_layers=2)
SMALL = (
    "stage1.epochs=1", "stage1.bs=8", "stage1.arch.emb_sz=16", "stage1.arch.n_hid=24",
    "stage1.arch.n_layers=1", "stage3.epochs=2", "stage3.schedule=freez", "stage3.bs=8",
)  # fmt: skip


@pytest.fixture(autouse=True)
def calm(monkeypatch: pytest.MonkeyPatch) -> Generator[None, None, None]:
    monkeypatch.setattr(pace, "SECONDS", 0.1)
    with one_thread():
        yield


def test_the_pace_of_a_language_model(demo_corpus: Corpus) -> None:
    config = replace(PRETRAIN_PRESETS["tiny"], arch=ARCH)
    state = torch.get_rng_state()
    found = stock_lm_pace(demo_corpus, config)
    assert found.whole == found.top > found.reading > 0
    assert torch.equal(torch.get_rng_state(), state)
    # Without dropout, where fastai's weight drop would end in an error.
    assert stock_lm_pace(demo_corpus, FINETUNE_PRESETS["laptop"]).whole > 0


def test_the_pace_of_a_classifier_that_freezes(demo_corpus: Corpus) -> None:
    config = replace(CLASSIFIER_PRESETS["tiny"], schedule="freez", bs=8)
    found = stock_classifier_pace(demo_corpus, config, arch=ARCH)
    assert found.whole > found.reading > 0 and found.top > 0


def test_documents_are_padded_as_fastai_pads_them() -> None:
    documents = [torch.arange(9, 9 + n) for n in (5, 21, 16, 1)]
    ids = torch.nn.utils.rnn.pad_sequence(documents, batch_first=True, padding_value=PAD_ID)
    labels = torch.tensor([0, 1, 2, 3])
    batch = _padded(ids, torch.tensor([5, 21, 16, 1]), labels, seq_len=8)
    assert batch.n_tokens == 43 and batch.targets.tolist() == [1, 2, 0, 3]
    longest_first = [(TensorText(documents[n]),) for n in (1, 2, 0, 3)]
    theirs = Pad_Chunk(pad_idx=PAD_ID, seq_len=8)(longest_first)
    assert batch.ids.tolist() == [ids.tolist() for (ids,) in theirs]


def test_tokens_and_seconds_are_those_of_the_histories(
    demo_corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside_stock, "stock_lm_pace", lambda *_, **__: Pace(2.0, 2.0, 0.7))
    monkeypatch.setattr(beside_stock, "stock_classifier_pace", lambda *_, **__: Pace(3.0, 1.0, 0.5))
    asked = Experiment(demo_corpus.folder, preset="tiny", lm="none", settings=SMALL)
    results = reproduce(asked, tmp_path / "run", stock=True)
    lm, classifier, answers = results.stages
    (read,) = read_history(tmp_path / "run" / PRETRAINED / "history.csv")
    assert (lm.stage, lm.tokens, lm.seconds) == ("pretrain-lm", read.tokens, read.seconds)
    assert lm.stock_seconds == 2 * read.tokens
    top, *deeper = read_history(tmp_path / "run" / CLASSIFIER / "history.csv")
    assert classifier.tokens == top.tokens + sum(row.tokens for row in deeper)
    assert top.tokens < classifier.stock_seconds < 3 * classifier.tokens
    n_tokens = sum(len(demo_corpus[n]) for n in demo_corpus.rows("test").tolist())
    assert (answers.tokens, answers.stock_seconds) == (n_tokens, 0.5 * n_tokens)
    assert answers.seconds == results.runs[0].answer_seconds
    table = (tmp_path / "run" / "results.md").read_text()
    assert f"| pretrain-lm | {read.tokens:,} |" in table and "| in all |" in table
    again = reproduce(asked, tmp_path / "run")
    assert again.stages == () and again.runs == results.runs


def test_a_qrnn_has_no_counterpart(demo_corpus: Corpus, tmp_path: Path) -> None:
    settings = (*SMALL, "stage1.arch.backbone=qrnn")
    asked = Experiment(demo_corpus.folder, preset="tiny", lm="none", settings=settings)
    with pytest.raises(UserError, match="this language model is a QRNN: leave it out"):
        reproduce(asked, tmp_path / "run", stock=True)
