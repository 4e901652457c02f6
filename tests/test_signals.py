"""Ctrl-C and SIGTERM from outside: one line, the right exit code, nothing half-written, and training goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import ulmfit
from ulmfit.models.artefact import load_language_model

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
SIGNALS = [(signal.SIGINT, 130, "Ctrl-C"), (signal.SIGTERM, 143, "SIGTERM")]

# A verb that is in the middle of writing a folder, and says so.
_WRITING = """
import sys, time
from ulmfit import cli, verbs
from ulmfit.files import atomic_folder

def data(argv):
    with atomic_folder(argv[0]) as part:
        (part / "half").write_text("half")
        print("on", flush=True)
        time.sleep(60)

verbs.data = data
sys.exit(cli.main(["data", sys.argv[1]]))
"""


def begin(*argv: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(argv, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True)


@pytest.mark.parametrize(("number", "code", "name"), SIGNALS)
def test_a_verb_that_is_stopped_clears_away_its_half(
    number: int, code: int, name: str, tmp_path: Path
) -> None:
    running = begin(sys.executable, "-c", _WRITING, str(tmp_path / "out"))
    assert running.stdout and running.stdout.readline() == "on\n"
    running.send_signal(number)
    said = running.communicate(timeout=30)[1]
    assert running.returncode == code
    assert said == f"ulmfit: stopped by {name}; nothing half-written was kept\n"
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code", "name"), SIGNALS)
def test_a_training_that_is_stopped_goes_on(
    number: int, code: int, name: str, tmp_path: Path
) -> None:
    texts = [f"the {i} film was {mood} indeed" for i in range(12) for mood in ("fine", "dull")]
    corpus = ulmfit.prepare(texts, tmp_path / "corpus", config=ulmfit.TextConfig(min_freq=1))

    def argv(out: str) -> list[str]:
        flags = "--preset tiny --epochs 20 --bs 8 --emb-sz 8 --n-hid 8 --n-layers 1 --threads 1"
        return [sys.executable, "-m", "ulmfit", "pretrain-lm", str(corpus.folder), "--out", str(tmp_path / out), *flags.split()]  # fmt: skip

    subprocess.run(argv("whole"), cwd=ROOT, check=True, capture_output=True)
    working = tmp_path / "lm.training"
    running = begin(*argv("lm"))
    while not (working / "history.csv").exists():
        assert running.poll() is None, running.communicate()
        time.sleep(0.01)
    running.send_signal(number)
    said = running.communicate(timeout=60)[1].splitlines()
    assert running.returncode == code, said
    assert said[-1].startswith(f"ulmfit: stopped ({name}) in epoch ")
    assert said[-1].endswith("the same command goes on from there")
    assert "Traceback" not in "".join(said)
    assert (working / "checkpoint.safetensors").exists() and not (tmp_path / "lm").exists()
    subprocess.run(argv("lm"), cwd=ROOT, check=True, capture_output=True)
    whole, found = (load_language_model(tmp_path / out).weights for out in ("whole", "lm"))
    assert all(torch.equal(found[tensor], whole[tensor]) for tensor in whole)
    assert not working.exists()
