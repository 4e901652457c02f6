"""Several processes beside one: arithmetic with a stand-in for the partner, and two real ones over gloo on loopback."""

from __future__ import annotations

import csv
import json
import random
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import company
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import distributed

import ulmfit
from ulmfit.cli import main
from ulmfit.errors import Stopped, UserError
from ulmfit.models.arch import DROPOUTS, ArchConfig
from ulmfit.models.threads import one_thread
from ulmfit.text.corpus import Corpus
from ulmfit.training import distributed as ours
from ulmfit.training.config import PretrainConfig
from ulmfit.training.distributed import World

CALM = ArchConfig(emb_sz=16, n_hid=24, n_layers=2, **dict.fromkeys(DROPOUTS, 0.0))
CONFIG = PretrainConfig(
    bs=16, seq_len=24, epochs=2, lr=2e-2, schedule="one_cycle", arch=CALM, precision="fp32",
    accumulate=2, clip=0.2, activation_reg=2.0, temporal_reg=1.0, jitter=True,
)  # fmt: skip
SCRIPT = Path(company.__file__)


@pytest.fixture
def partner(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for a second process, which always has twice what this one has."""

    def gather(received: list[torch.Tensor], sent: torch.Tensor) -> None:
        received[0].copy_(sent)
        received[1].copy_(2 * sent)

    monkeypatch.setattr(ours, "world", lambda: World(0, 2))
    monkeypatch.setattr(distributed, "all_reduce", lambda tensor: tensor.mul_(3))
    monkeypatch.setattr(distributed, "all_gather", gather)
    monkeypatch.setattr(distributed, "broadcast", lambda tensor, source: tensor.fill_(source))


def test_alone_everything_is_the_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    tensor = torch.tensor([1.0, 2.0])
    assert ours.total([1, 2.5]) == [1, 2.5]
    assert ours.gathered(tensor)[0] is tensor
    ours.average([tensor])
    ours.wait()
    assert tensor.tolist() == [1, 2]
    with ours.joined() as group, ours.one_voice() as voice:
        assert group == voice == World(0, 1)
        assert group.is_first
    with pytest.raises(UserError, match="mine"), ours.one_voice():
        raise UserError("mine")


def test_rows_are_shared_evenly() -> None:
    assert World(1, 4).share(64) == 16
    assert World().share(7) == 7
    with pytest.raises(UserError, match=r"--bs 7 .* 2 processes: choose a multiple of 2"):
        World(0, 2).share(7)


def test_only_a_launcher_makes_company(monkeypatch: pytest.MonkeyPatch) -> None:
    for size, rank, n in (("", "0", 1), ("3", "0", 3), ("3", None, 1), ("many", "0", 1)):
        monkeypatch.setenv("WORLD_SIZE", size)
        monkeypatch.setenv("RANK", rank) if rank else monkeypatch.delenv("RANK", raising=False)
        assert ours.n_launched() == n


def test_a_launcher_that_names_no_meeting_place_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {"WORLD_SIZE": "2", "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(UserError, match=r"WORLD_SIZE is 2.*MASTER_ADDR.*torchrun"), ours.joined():
        raise AssertionError("joined nobody")


def test_sums_and_means_count_the_partner(partner: None) -> None:
    assert ours.total([1.0, 0.1]) == [3.0, pytest.approx(0.3)]
    assert [p.tolist() for p in ours.gathered(torch.tensor([1, 2], dtype=torch.uint8))] == [[1, 2], [2, 4]]  # fmt: skip
    tensors = [torch.ones(ours.LARGE), torch.arange(6.0).view(2, 3).t(), torch.tensor(2.0)]
    ours.average(tensors)
    assert tensors[0].eq(1.5).all()
    assert torch.equal(tensors[1], 1.5 * torch.arange(6.0).view(2, 3).t())
    assert tensors[2] == 3
    layer = torch.nn.Linear(2, 2)
    ours.equalise(layer)
    assert not layer.weight.any()


def test_a_step_sees_mean_loss_and_mean_gradient(partner: None) -> None:
    model = torch.nn.Linear(2, 1)
    model.bias.requires_grad_(False)
    together = ours.StepTogether()
    together.learn = SimpleNamespace(model=model, loss=torch.tensor(2.0))
    model(torch.tensor([[4.0, -2.0]])).sum().backward()
    together.after_loss()
    together.before_step()
    assert together.learn.loss == 3
    assert model.weight.grad.tolist() == [[6, -3]]
    assert model.bias.grad is None


def test_a_partner_that_is_gone_is_one_line(partner: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(_: torch.Tensor) -> None:
        raise RuntimeError("Connection closed by peer")

    monkeypatch.setattr(distributed, "all_reduce", lost)
    with pytest.raises(
        Stopped, match=r"another process .* goes on from the last checkpoint"
    ) as info:
        ours.wait()
    assert info.value.exit_code == 1


def test_only_training_is_done_in_company(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"WORLD_SIZE": "2", "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(ours, "n_launched", lambda: 1)  # nobody to meet
    assert main(["prepare", "reviews.csv"]) == 2
    assert "prepare is the work of one process" in capsys.readouterr().err
    assert main(["pretrain-lm"]) == 2
    assert "no CORPUS" in capsys.readouterr().err


def play(scene: str, tmp_path: Path) -> list[dict]:
    """Let two processes play a scene, and read what each has seen."""
    company.finish(company.start(SCRIPT, scene, tmp_path / "seen"))
    return [json.loads((tmp_path / f"seen.{rank}").read_text()) for rank in (0, 1)]


@pytest.mark.slow
def test_two_processes_reckon_together(tmp_path: Path) -> None:
    torch.manual_seed(0)
    first, second = play("arithmetic", tmp_path)
    assert (first.pop("rank"), second.pop("rank")) == (0, 1)
    assert first == second
    assert first["sum"] == [3, 0.2]
    assert first["layer"] == torch.nn.Linear(2, 2).weight.flatten().tolist()
    assert first["mean"] == [[1.5], [[0, 4.5], [1.5, 6], [3, 7.5]], 2]
    assert first["alone"] == [1.5]
    assert first["scalar"] == [0.5, 1.5]
    assert all(parts == [[0, 1], [1, 1]] for parts in first["gathered"].values())
    assert first["joined again"]
    assert first["second meeting"] == [2]
    assert first["afterwards"] == 1


@pytest.mark.slow
def test_an_error_ends_all_and_is_told_once(tmp_path: Path) -> None:
    processes = company.start(SCRIPT, "errors", tmp_path / "seen")
    (code, err), (other_code, other_err) = company.finish(processes)
    assert (code, other_code) == (0, 9)
    assert (err.count("said on stderr"), other_err) == (3, "")
    first, second = (json.loads((tmp_path / f"seen.{rank}").read_text()) for rank in (0, 1))
    assert {first["together"]["error"], second["together"]["error"]} == {"UserError", "SystemExit"}
    assert (first["alone"]["error"], second["alone"]["error"]) == ("SystemExit", "UserError")
    assert second["alone"]["words"] == "only here"
    assert first["dead"]["error"] == "Stopped"
    assert max(first["alone"]["seconds"], first["dead"]["seconds"]) < 20


def launched(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the program in two processes under torch's own launcher."""
    where = ("--master-addr", "127.0.0.1", "--master-port", str(company.free_port()))
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", *where, "-m", "ulmfit", *map(str, arguments)],
        env=company.environment(0, 0), capture_output=True, text=True, timeout=100,
    )  # fmt: skip


def rows(path: Path) -> list[dict[str, str]]:
    """Read a history without what only a clock says."""
    with path.open(encoding="utf-8") as file:
        return [
            {k: v for k, v in row.items() if k not in ("seconds", "tokens_per_second")}
            for row in csv.DictReader(file)
        ]


@pytest.mark.slow
def test_two_processes_follow_the_curve_of_one(demo_corpus: Corpus, tmp_path: Path) -> None:
    """Of the same global batch, without dropout: losses of every batch, and weights."""
    one = tmp_path / "one"
    with one_thread():
        ulmfit.pretrain_lm(demo_corpus, one, config=CONFIG, progress=lambda _: None)
    flags = [
        f"--{name.replace('_', '-')}={getattr(CONFIG, name)}"
        for name in ("bs", "seq_len", "epochs", "lr", "schedule", "precision", "accumulate", "clip", "activation_reg", "temporal_reg")
    ]  # fmt: skip
    sizes = ["--emb-sz=16", "--n-hid=24", "--n-layers=2", "--drop-mult=0", "--preset=paper"]
    two = tmp_path / "two"
    end = launched("pretrain-lm", demo_corpus.folder, "--out", two, *flags, *sizes)
    assert end.returncode == 0, end.stderr
    assert end.stdout.count("language model") == end.stderr.count("wrote") == 1
    assert end.stderr.count("epoch 1/2") == 1
    curves = [
        np.array([float(row["loss"]) for row in rows(folder / "steps.csv")])
        for folder in (one, two)
    ]
    assert len(curves[0]) > 40
    np.testing.assert_allclose(*curves, rtol=1e-5)
    assert curves[0][-1] < curves[0][0] - 1
    for mine, other in zip(rows(one / "history.csv"), rows(two / "history.csv"), strict=True):
        assert {k: float(v) for k, v in mine.items()} == pytest.approx(
            {k: float(v) for k, v in other.items()}, rel=1e-5
        )
    weights = [load_file(folder / "model.safetensors") for folder in (one, two)]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(tensor, weights[1][name], rtol=1e-3, atol=1e-4)
    again = launched("pretrain-lm", demo_corpus.folder, "--out", two, *flags, *sizes, "--seed=5")
    told = [line for line in again.stderr.splitlines() if line.startswith("ulmfit:")]
    assert again.returncode
    assert len(told) == 1
    assert "seed 5 (was 0)" in told[0]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_kill_9_of_all_leaves_the_same_bits(demo_corpus: Corpus, tmp_path: Path) -> None:
    """With dropout, early stopping and jitter; the processes die at random moments and are started again."""
    config = replace(CONFIG, patience=1, arch=replace(CALM, **dict.fromkeys(DROPOUTS, 0.2)))
    settings = json.dumps(asdict(config))
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    ends = company.finish(company.start(SCRIPT, "train", demo_corpus.folder, whole, settings))
    assert [code for code, _ in ends] == [0, 0], ends
    checkpoint, lottery, n_kills = (
        tmp_path / "cut.training" / "checkpoint.safetensors",
        random.Random(0),
        0,
    )
    while not (cut / "manifest.json").exists():
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        processes = company.start(SCRIPT, "train", demo_corpus.folder, cut, settings)
        if n_kills == 2:
            ends = company.finish(processes)
            assert [code for code, _ in ends] == [0, 0], ends
            break
        while not (checkpoint.exists() and checkpoint.stat().st_mtime_ns > before):
            assert processes[0].poll() is None, processes[0].communicate()
            time.sleep(0.01)
        time.sleep(lottery.uniform(0, 0.3))
        company.kill(processes)
        n_kills += 1
    assert n_kills == 2
    assert rows(whole / "history.csv") == rows(cut / "history.csv")
    assert rows(whole / "steps.csv") == rows(cut / "steps.csv")
    weights = [load_file(folder / "model.safetensors") for folder in (whole, cut)]
    for name, tensor in weights[0].items():
        assert torch.equal(tensor, weights[1][name]), name


@pytest.mark.slow
def test_a_request_to_one_stops_all(demo_corpus: Corpus, tmp_path: Path) -> None:
    settings = json.dumps(asdict(replace(CONFIG, epochs=100)))
    processes = company.start(SCRIPT, "train", demo_corpus.folder, tmp_path / "lm", settings)
    checkpoint = tmp_path / "lm.training" / "checkpoint.safetensors"
    while not checkpoint.exists():
        assert processes[0].poll() is None, processes[0].communicate()
        time.sleep(0.01)
    processes[1].terminate()
    ends = company.finish(processes)
    assert all(code == 1 and "stopped (SIGTERM) in epoch" in err for code, err in ends), ends
    facts = load_file(checkpoint)
    assert not torch.equal(facts["process.0.random"], facts["process.1.random"])
    assert not torch.equal(facts["process.0.state.0.0"], facts["process.1.state.0.0"])
