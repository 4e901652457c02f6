"""Stages 1 and 2 as a user runs them, on the embedded corpus: folders, resumption bit for bit, and what is refused."""

from __future__ import annotations

import contextlib
import csv
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import ulmfit
from ulmfit.errors import Diverged, Stopped, UserError
from ulmfit.models.arch import ArchConfig
from ulmfit.models.transplant import transplant
from ulmfit.stages import session
from ulmfit.stages.carry_over import carry_over
from ulmfit.text.corpus import Corpus
from ulmfit.training.config import FinetuneConfig, PretrainConfig

pytestmark = pytest.mark.usefixtures("calm")

ARCH = ArchConfig(emb_sz=16, n_hid=24, n_layers=2)
PRETRAIN = PretrainConfig(
    bs=16, seq_len=32, epochs=2, lr=2e-2, schedule="one_cycle", arch=ARCH, accumulate=2
)
FINETUNE = FinetuneConfig(
    bs=16, seq_len=32, epochs=1, frozen_epochs=1, frozen_lr=5e-3, lr=5e-3, schedule="one_cycle", drop_mult=0.5, label_smoothing=0.05
)  # fmt: skip


def silent(_: object) -> None:
    """Listen to a stage without a word."""


@pytest.fixture(scope="module")
def lm(demo_corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> ulmfit.LanguageModel:
    out = tmp_path_factory.mktemp("stage1") / "lm"
    return ulmfit.pretrain_lm(demo_corpus, out, config=PRETRAIN, progress=silent)


@pytest.fixture(scope="module")
def other_corpus(demo_frame, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Other documents of the same kind: their vocabulary shares most words with the first one's."""
    out = tmp_path_factory.mktemp("other") / "corpus"
    rows = demo_frame.sample(n=200, random_state=1)
    config = ulmfit.TextConfig(max_vocab=8_000, min_freq=2)
    return ulmfit.prepare(rows, out, split="split", config=config)


def test_a_pretrained_folder_is_whole(lm: ulmfit.LanguageModel, demo_corpus: Corpus) -> None:
    assert {p.name for p in lm.folder.iterdir()} >= {
        "manifest.json", "vocab.json", "tokenizer", "model.safetensors", "history.csv", "steps.csv", "history.png", "README.md",
    }  # fmt: skip
    assert not lm.folder.with_name("lm.training").exists()
    rows = list(csv.DictReader((lm.folder / "history.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    made = lm.manifest.provenance
    assert (
        made.metrics["valid_loss"]
        == float(rows[-1]["valid_loss"])
        < math.log(len(demo_corpus.vocab))
    )
    assert made.metrics["perplexity"] == pytest.approx(math.exp(made.metrics["valid_loss"]))
    assert made.parent == demo_corpus.fingerprint
    assert isinstance(ulmfit.load(lm.folder), ulmfit.LanguageModel)
    assert lm.generate("the film", 5, seed=0)


def test_fine_tuning_enters_the_new_vocabulary(
    lm: ulmfit.LanguageModel, other_corpus: Corpus, tmp_path: Path
) -> None:
    tuned = ulmfit.finetune_lm(
        lm, other_corpus, tmp_path / "tuned", config=FINETUNE, progress=silent
    )
    made = tuned.manifest.provenance
    assert list(tuned.vocab) == list(other_corpus.vocab)
    assert made.parent == lm.parts.fingerprint
    report = transplant(lm.parts.weights, lm.vocab, other_corpus.vocab).report
    assert any(str(report) in note for note in made.notes)
    assert made.metrics["valid_loss"] < made.metrics["valid_loss_before"]
    assert tuned.arch == FINETUNE.regularised(lm.arch)


def test_the_loss_before_is_that_of_the_transplanted_weights(
    lm: ulmfit.LanguageModel, other_corpus: Corpus, tmp_path: Path
) -> None:
    """Beside a loop over the documents held out, as one batch of streams has them."""
    tuned = ulmfit.finetune_lm(
        lm, other_corpus, tmp_path / "tuned", config=FINETUNE, progress=silent
    )
    learn = ulmfit.language_model_learner(other_corpus, lm, config=FINETUNE)
    nats, tokens, state = 0.0, 0, None
    learn.model.eval()
    with torch.no_grad():
        for ids, targets in learn.dls.valid:
            output = learn.model(ids, state)
            state = output.state
            logits = output.logits().flatten(0, 1)
            nats += torch.nn.functional.cross_entropy(
                logits, targets.flatten(), reduction="sum"
            ).item()
            tokens += targets.numel()
    assert tuned.manifest.provenance.metrics["valid_loss_before"] == pytest.approx(
        nats / tokens, rel=1e-4
    )


@pytest.mark.parametrize("is_notebook", [False, True])
def test_a_script_reads_lines_on_stderr_and_a_notebook_shows_the_bar_of_fastai(
    other_corpus: Corpus,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    is_notebook: bool,
) -> None:
    monkeypatch.setattr(session, "IN_NOTEBOOK", is_notebook)
    config = replace(PRETRAIN, epochs=1)
    ulmfit.pretrain_lm(other_corpus, tmp_path / "lm", config=config)
    said = capsys.readouterr()
    assert bool(said.out) == is_notebook
    assert ("pretrain-lm forward: epoch 1/1, train loss" in said.err) != is_notebook


def test_without_a_valid_split_what_was_held_out_is_measured(
    demo_frame: pd.DataFrame, tmp_path: Path
) -> None:
    config = ulmfit.TextConfig(max_vocab=4_000, min_freq=1)
    corpus = ulmfit.prepare(demo_frame.head(150), tmp_path / "corpus", label=None, config=config)
    made = ulmfit.pretrain_lm(corpus, tmp_path / "lm", config=PRETRAIN, progress=silent)
    found = ulmfit.evaluate_lm(tmp_path / "lm", corpus, bs=PRETRAIN.bs)
    assert found.metrics["loss"] == pytest.approx(made.manifest.provenance.metrics["valid_loss"])
    with pytest.raises(UserError, match="has no test documents: --split may be train, valid"):
        ulmfit.evaluate_lm(made, corpus, split="test")
    moved = carry_over(made, corpus, tmp_path / "moved")
    with pytest.raises(UserError, match="has no valid documents"):
        ulmfit.evaluate_lm(moved, corpus)


def test_both_directions_are_one_folder(
    demo_corpus: Corpus, other_corpus: Corpus, tmp_path: Path
) -> None:
    config = replace(PRETRAIN, epochs=1, direction="both")
    pair = ulmfit.pretrain_lm(demo_corpus, tmp_path / "pair", config=config, progress=silent)
    assert (pair.forward.direction, pair.backward.direction) == ("forward", "backward")
    assert not torch.equal(
        *(m.parts.weights["encoder.embedding.weight"] for m in (pair.forward, pair.backward))
    )
    alone = ulmfit.pretrain_lm(
        demo_corpus,
        tmp_path / "alone",
        config=replace(config, direction="backward"),
        progress=silent,
    )
    for name, tensor in alone.parts.weights.items():
        assert torch.equal(tensor, pair.backward.parts.weights[name])
    tuned = ulmfit.finetune_lm(
        tmp_path / "pair", other_corpus, tmp_path / "tuned", config=FINETUNE, progress=silent
    )
    assert tuned.backward.manifest.provenance.parent == pair.backward.parts.fingerprint
    assert isinstance(ulmfit.load(tmp_path / "tuned"), ulmfit.LanguageModelPair)
    with pytest.raises(UserError, match="--direction"):
        ulmfit.finetune_lm(
            alone,
            other_corpus,
            tmp_path / "no",
            config=replace(FINETUNE, direction="forward"),
            progress=silent,
        )


def test_what_is_finished_is_not_trained_again(
    lm: ulmfit.LanguageModel, demo_corpus: Corpus
) -> None:
    def listen(_: object) -> None:
        raise AssertionError("trained again")

    before = (lm.folder / "manifest.json").stat().st_mtime_ns
    again = ulmfit.pretrain_lm(demo_corpus, lm.folder, config=PRETRAIN, progress=listen)
    assert (again.folder / "manifest.json").stat().st_mtime_ns == before
    with pytest.raises(UserError, match=r"lr 0.5 \(was"):
        ulmfit.pretrain_lm(
            demo_corpus, lm.folder, config=replace(PRETRAIN, lr=0.5), progress=silent
        )


class Killed(BaseException):
    """As sudden as a kill, in the same process."""


@pytest.fixture(scope="module", params=[None, 1], ids=["every epoch", "patience"])
def whole(
    request: pytest.FixtureRequest, lm: ulmfit.LanguageModel, other_corpus: Corpus, tmp_path_factory: pytest.TempPathFactory
) -> tuple[FinetuneConfig, ulmfit.LanguageModel]:  # fmt: skip
    """A run that nothing interrupts, with its settings."""
    config = replace(FINETUNE, epochs=3, patience=request.param, jitter=True)
    out = tmp_path_factory.mktemp("whole") / "lm"
    return config, ulmfit.finetune_lm(lm, other_corpus, out, config=config, progress=silent)


@pytest.mark.parametrize("when", [2, 9, 17, 26])
def test_an_interrupted_run_ends_with_the_same_bits(
    lm: ulmfit.LanguageModel, other_corpus: Corpus, tmp_path: Path, when: int,
    whole: tuple[FinetuneConfig, ulmfit.LanguageModel], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A checkpoint after every batch; the process dies at one of them, mid-epoch or between epochs."""
    monkeypatch.setattr("ulmfit.training.resume.MINUTES", 0.0)
    config, undisturbed = whole
    seen = 0

    def die(_: object) -> None:
        nonlocal seen
        seen += 1
        if seen == when:
            raise Killed

    with pytest.raises(Killed):
        ulmfit.finetune_lm(lm, other_corpus, tmp_path / "cut", config=config, progress=die)
    torch.manual_seed(99)
    resumed = ulmfit.finetune_lm(lm, other_corpus, tmp_path / "cut", config=config, progress=silent)
    for name, tensor in undisturbed.parts.weights.items():
        assert torch.equal(tensor, resumed.parts.weights[name]), name
    rows = [list(csv.DictReader((m.folder / "history.csv").open())) for m in (undisturbed, resumed)]
    for one, other in zip(*rows, strict=True):
        measured = ("seconds", "tokens_per_second")
        assert {k: v for k, v in one.items() if k not in measured} == {
            k: v for k, v in other.items() if k not in measured
        }


def test_a_run_that_goes_on_with_other_rounding_says_so(
    demo_corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    out, n_threads = tmp_path / "lm", torch.get_num_threads()
    train = partial(ulmfit.pretrain_lm, demo_corpus, out, config=PRETRAIN)
    for others in (n_threads, n_threads + 1):
        torch.set_num_threads(others)
        with contextlib.suppress(Stopped):
            train(progress=lambda moment: said.append(moment.notice), max_minutes=1e-9)
        expected = others != n_threads
        told = [notice for notice in said if f"threads {others}, was {n_threads}" in notice]
        assert len(told) == expected
    torch.set_num_threads(n_threads)


def test_a_time_limit_stops_at_a_checkpoint(
    demo_corpus: Corpus, lm: ulmfit.LanguageModel, tmp_path: Path
) -> None:
    out = tmp_path / "slices"
    n_slices = 0
    while not (out / "manifest.json").exists():
        n_slices += 1
        assert n_slices < 300
        try:
            ulmfit.pretrain_lm(
                demo_corpus, out, config=PRETRAIN, progress=silent, max_minutes=0.002
            )
        except Stopped as stopped:
            assert stopped.exit_code == 3
    assert n_slices > 1
    for name, tensor in lm.parts.weights.items():
        assert torch.equal(tensor, ulmfit.load(out).parts.weights[name]), name


def test_however_short_the_time_every_call_gets_further(
    demo_corpus: Corpus, tmp_path: Path
) -> None:
    """A measurement begins anew each time: stopped in it, the next call would stand where this one stood."""
    config = replace(PRETRAIN, epochs=1, max_batches=3)
    n_slices = 0
    while not (tmp_path / "lm" / "manifest.json").exists():
        n_slices += 1
        assert n_slices < 6
        with contextlib.suppress(Stopped):
            ulmfit.pretrain_lm(
                demo_corpus, tmp_path / "lm", config=config, progress=silent, max_minutes=1e-9
            )
    assert n_slices > 1


def test_a_loss_that_explodes_stops_and_keeps_the_last_good_state(
    demo_corpus: Corpus, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr("ulmfit.training.resume.MINUTES", 0.0)
    config = replace(PRETRAIN, lr=500.0, clip=None, schedule="flat", accumulate=1)
    with pytest.raises(Diverged, match=r"lower --lr \(now 500\).*kept in .*checkpoint"):
        ulmfit.pretrain_lm(demo_corpus, tmp_path / "lm", config=config, progress=silent)
    assert not (tmp_path / "lm").exists()
    kept = load_file(tmp_path / "lm.training" / "checkpoint.safetensors")
    assert all(t.isfinite().all() for name, t in kept.items() if name.startswith("model."))
    calmer = ulmfit.pretrain_lm(
        demo_corpus, tmp_path / "lm", config=PRETRAIN, progress=silent, restart=True
    )
    assert calmer.manifest.provenance.config["config"]["lr"] == PRETRAIN.lr


def test_early_stopping_keeps_the_best_epoch(tmp_path: Path) -> None:
    """Texts of random words can only be learnt by heart: on others the loss soon rises, on any machine."""
    dice = random.Random(0)
    texts = [" ".join(dice.choices("abcdefghijklmnopqrst", k=60)) for _ in range(40)]
    corpus = ulmfit.prepare(texts, tmp_path / "corpus")
    arch = replace(ARCH, drop_mult=0.0)
    config = replace(
        PRETRAIN, bs=4, epochs=40, lr=2e-2, patience=1, schedule="flat", arch=arch, valid_share=0.3
    )
    tuned = ulmfit.pretrain_lm(corpus, tmp_path / "lm", config=config, progress=silent)
    losses = [
        float(row["valid_loss"]) for row in csv.DictReader((tuned.folder / "history.csv").open())
    ]
    best = losses.index(min(losses))
    assert best > 0 and len(losses) == best + 3 < 40  # two epochs that were no better
    assert tuned.manifest.provenance.metrics["valid_loss"] == losses[best]


COMMAND = """
import sys, json, ulmfit
import ulmfit.training.resume as resume
from ulmfit.training.config import PretrainConfig
from ulmfit.models.arch import ArchConfig
resume.MINUTES = 0.0
content = json.loads(sys.argv[3])
content["arch"] = ArchConfig(**content["arch"])
ulmfit.pretrain_lm(sys.argv[1], sys.argv[2], config=PretrainConfig(**content), progress=lambda _: None)
"""


N_KILLS = 5


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(os.name == "nt", reason="kill -9 is POSIX")
def test_kill_9_at_random_moments(
    demo_corpus: Corpus, lm: ulmfit.LanguageModel, tmp_path: Path
) -> None:
    from dataclasses import asdict

    out, lottery = tmp_path / "lm", random.Random(0)
    command = [
        sys.executable,
        "-c",
        COMMAND,
        str(demo_corpus.folder),
        str(out),
        json.dumps(asdict(PRETRAIN)),
    ]
    checkpoint = out.with_name("lm.training") / "checkpoint.safetensors"
    n_killed = 0
    for _ in range(N_KILLS):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        while process.poll() is None and (
            not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before
        ):
            time.sleep(0.01)
        time.sleep(lottery.uniform(0, 1))
        process.send_signal(signal.SIGKILL)
        n_killed += process.wait() == -signal.SIGKILL
    subprocess.run(command, check=True)
    assert n_killed > 1
    for name, tensor in lm.parts.weights.items():
        assert torch.equal(tensor, ulmfit.load(out).parts.weights[name]), name


@pytest.mark.parametrize("wrong", [0, -1.5, "3", float("nan")])
def test_a_limit_of_time_that_is_none_is_refused(
    demo_corpus: Corpus, tmp_path: Path, wrong: float
) -> None:
    with pytest.raises(UserError, match=r"--max-minutes is .*; allowed: above 0"):
        ulmfit.pretrain_lm(demo_corpus, tmp_path / "lm", config=PRETRAIN, max_minutes=wrong)
