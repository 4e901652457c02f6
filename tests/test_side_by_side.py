"""Both directions in two processes: the same weights as one after the other, and no process that stays behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import pytest
import torch

import ulmfit
from tests.conftest import ROOT
from ulmfit.errors import Stopped, UserError
from ulmfit.files import MANIFEST, from_json
from ulmfit.history import TrainingProgress
from ulmfit.models.arch import ArchConfig
from ulmfit.stages import both, session, worker
from ulmfit.stages.session import Session
from ulmfit.text.corpus import Corpus
from ulmfit.training import side_by_side
from ulmfit.training.classifier_config import ClassifierConfig
from ulmfit.training.config import FinetuneConfig, PretrainConfig
from ulmfit.training.side_by_side import Job

PRETRAIN = PretrainConfig(
    direction="both", bs=4, seq_len=8, epochs=1, lr=1e-2, schedule="one_cycle", valid_share=0.3,
    arch=ArchConfig(emb_sz=8, n_hid=12, n_layers=2),
)  # fmt: skip
FINETUNE = FinetuneConfig(bs=4, seq_len=8, epochs=1, valid_share=0.3)
CLASSIFY = ClassifierConfig(schedule="one_cycle", bs=4, seq_len=8, epochs=1, max_len=16)
TEXTS = [
    f"the {i} film was {mood} and {mood} indeed" for i in range(12) for mood in ("fine", "dull")
]


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> Generator[None, None, None]:
    """Two threads, and no corpus that is too small."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    monkeypatch.setattr(side_by_side, "WORTH_A_PROCESS", 0)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    rows = pd.DataFrame({"text": TEXTS, "label": [text.split()[4] for text in TEXTS]})
    out = tmp_path_factory.mktemp("both") / "corpus"
    return ulmfit.prepare(rows, out, config=ulmfit.TextConfig(min_freq=1))


class Heard(list[TrainingProgress]):
    """Keep what a listener is told."""

    def __call__(self, progress: TrainingProgress) -> None:
        self.append(progress)

    def directions(self) -> set[str]:
        return {progress.direction for progress in self if progress.epoch_row}


def all_stages(corpus: Corpus, out: Path, listener: Heard) -> ulmfit.Classifier:
    first = ulmfit.pretrain_lm(corpus, out / "lm", config=PRETRAIN, progress=listener)
    tuned = ulmfit.finetune_lm(first, corpus, out / "tuned", config=FINETUNE, progress=listener)
    return ulmfit.train_classifier(
        tuned, corpus, out / "classifier", config=CLASSIFY, progress=listener
    )


@pytest.fixture
def at_home(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """Let this process do what workers would, with jobs that came through JSON; give the jobs done."""
    done: list[Job] = []

    def run(jobs: list[Job], heard: Heard) -> None:
        for job in jobs:
            done.append(from_json(Job, json.loads(json.dumps(asdict(job)))))
            worker.train(done[-1], heard)
            torch.set_num_threads(2)

    monkeypatch.setattr(both, "train_side_by_side", run)
    return done


def test_all_stages_give_the_same_weights(
    corpus: Corpus, tmp_path: Path, at_home: list[Job]
) -> None:
    heard = Heard()
    ours = all_stages(corpus, tmp_path / "two", heard)
    stages = ("pretrain_lm", "finetune_lm", "train_classifier")
    assert [job.stage for job in at_home] == [stage for stage in stages for _ in range(2)]
    assert heard.directions() == {"forward", "backward"}
    torch.set_num_threads(1)
    theirs = all_stages(corpus, tmp_path / "one", Heard())
    assert len(at_home) == 6  # one thread is for one training
    for name in ("forward", "backward"):
        for key, tensor in theirs.parts.weights[name].items():
            assert torch.equal(tensor, ours.parts.weights[name][key])
    assert ours.predict_proba(TEXTS).tolist() == theirs.predict_proba(TEXTS).tolist()
    assert not list((tmp_path / "two").glob("*.training"))


def test_with_little_text_one_follows_the_other(
    corpus: Corpus, tmp_path: Path, at_home: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(side_by_side, "WORTH_A_PROCESS", 1 << 19)
    ulmfit.pretrain_lm(corpus, tmp_path / "small", config=PRETRAIN, progress=Heard())
    assert not at_home


@pytest.mark.parametrize("is_notebook", [False, True])
def test_without_a_listener_they_speak_in_lines(
    corpus: Corpus,
    tmp_path: Path,
    at_home: list[Job],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    is_notebook: bool,
) -> None:
    monkeypatch.setattr(session, "IN_NOTEBOOK", is_notebook)
    ulmfit.pretrain_lm(corpus, tmp_path / "lm", config=PRETRAIN)
    assert len(at_home) == 2
    said = capsys.readouterr()
    assert all(f"pretrain-lm {name}: epoch 1/1" in said.err for name in ("forward", "backward"))
    assert not said.out


def test_it_stops_in_time_and_goes_on_to_the_same_end(corpus: Corpus, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    whole = ulmfit.pretrain_lm(corpus, tmp_path / "whole", config=PRETRAIN)
    torch.set_num_threads(2)
    out = tmp_path / "lm"
    with pytest.raises(Stopped, match="--max-minutes") as stop:
        ulmfit.pretrain_lm(corpus, out, config=PRETRAIN, progress=Heard(), max_minutes=1e-6)
    assert stop.value.exit_code == 3
    for name in ("forward", "backward"):
        assert (tmp_path / "lm.training" / f"{name}.training" / "checkpoint.safetensors").is_file()
    again = ulmfit.pretrain_lm(corpus, out, config=PRETRAIN)
    for name in ("forward", "backward"):
        ours, theirs = (getattr(pair, name).parts.weights for pair in (again, whole))
        assert all(torch.equal(tensor, ours[key]) for key, tensor in theirs.items())


def test_a_direction_that_is_left_of_two_takes_a_process_too(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this one it would have all threads, and large sums in another order."""
    begun: list[list[str]] = []

    def note(jobs: list[Job], _: object) -> None:
        begun.append([job.config["direction"] for job in jobs])

    monkeypatch.setattr(both, "train_side_by_side", note)
    folders = {name: tmp_path / name for name in ("forward", "backward")}
    own = Session("pretrain_lm", Heard(), restart=False, max_minutes=None)
    for _ in range(3):
        configs = {name: replace(PRETRAIN, direction=name) for name in folders}
        both.beforehand(folders, corpus, lm=None, configs=configs, session=own)
        done = folders["backward" if len(begun) == 2 else "forward"]
        done.mkdir(exist_ok=True)
        (done / MANIFEST).touch()
    assert begun == [["forward", "backward"], ["backward"]]


def test_restart_trains_each_direction_once(
    corpus: Corpus, tmp_path: Path, at_home: list[Job]
) -> None:
    out = tmp_path / "lm"
    ulmfit.pretrain_lm(corpus, out, config=PRETRAIN, progress=Heard())
    heard = Heard()
    ulmfit.pretrain_lm(corpus, out, config=PRETRAIN, progress=heard, restart=True)
    assert sorted(p.direction for p in heard if p.epoch_row) == ["backward", "forward"]


def test_an_error_of_one_is_raised_here(corpus: Corpus, tmp_path: Path) -> None:
    config = replace(PRETRAIN, lr=1e30, clip=None)
    with pytest.raises(UserError, match="lr"):
        ulmfit.pretrain_lm(corpus, tmp_path / "lm", config=config, progress=Heard())


def test_a_worker_that_is_killed_is_told_of(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Doomed(subprocess.Popen):
        def __init__(self, *args: object, **named: object) -> None:
            super().__init__(*args, **named)  # ty: ignore[invalid-argument-type]
            self.kill()

    monkeypatch.setattr(side_by_side.subprocess, "Popen", Doomed)
    with pytest.raises(UserError, match=r"ended with code -9, .*--threads 1"):
        ulmfit.pretrain_lm(corpus, tmp_path / "lm", config=PRETRAIN, progress=Heard())


def test_an_error_of_ours_is_not_the_users() -> None:
    ended = {"end": "died", "code": 1, "out": "lm"}
    assert isinstance(side_by_side._failure(ended, ""), RuntimeError)


_FOREVER = """
import sys, torch, ulmfit
from dataclasses import replace
from ulmfit.training import side_by_side
from tests.test_side_by_side import PRETRAIN
torch.set_num_threads(2)
side_by_side.WORTH_A_PROCESS = 0
config = replace(PRETRAIN, epochs=100_000)
ulmfit.pretrain_lm(sys.argv[1], sys.argv[2], config=config, progress=lambda p: print(p.direction, p.epoch, flush=True))
"""


def workers() -> set[int]:
    """Find the processes that train one direction, by what they were started with."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if b"ulmfit.stages.worker" in (folder / "cmdline").read_bytes():
                found.add(int(folder.name))
        except OSError:
            continue
    return found


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks at /proc")
@pytest.mark.timeout(400)  # three starts of Python with torch, beside whatever else runs
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_worker_outlives_its_parent(corpus: Corpus, tmp_path: Path, number: int) -> None:
    others = workers()
    argv = [sys.executable, "-c", _FOREVER, str(corpus.folder), str(tmp_path / "lm")]
    running = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip
    assert running.stdout
    begun = {"forward 2\n", "backward 2\n"}
    while begun:
        begun.discard(running.stdout.readline())
        assert running.poll() is None
    own = workers() - others
    assert len(own) == 2
    os.kill(running.pid, number)
    said = running.communicate(timeout=120)[1]
    deadline = time.monotonic() + 60
    while own & workers() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not own & workers()
    checkpoints = list((tmp_path / "lm.training").rglob("checkpoint.safetensors"))
    assert len(checkpoints) == 2
    if number == signal.SIGTERM:
        assert "Stopped: stopped (SIGTERM)" in said
