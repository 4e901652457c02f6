"""All that reads many texts, under a hard limit of address space smaller than they are."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_classifier import write_tiny_classifier

from ulmfit.text.corpus import Corpus

ROOT = Path(__file__).resolve().parents[1]
SLACK_MB = 800
pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="reads /proc, and RLIMIT_AS is enforced on Linux"
)

# The limit is what the process has after a first small run of the same, and a slack that is the same for any file.
_UNDER_A_LIMIT = f"""
import json, resource, sys
from dataclasses import replace
from pathlib import Path
import torch
torch.set_num_threads(1)
import ulmfit
from ulmfit import cli
from ulmfit.training.presets import PRETRAIN_PRESETS
verb, small, large, home, model = sys.argv[1:]

def run(texts, out):
    if verb == "prepare":
        config = ulmfit.TextConfig(max_vocab=20_000)
        return len(ulmfit.prepare(texts, f"{{home}}/{{out}}", config=config))
    if verb == "train":  # here the texts are a corpus
        few = replace(PRETRAIN_PRESETS["tiny"], epochs=1, max_batches=30, max_valid=50)
        ulmfit.pretrain_lm(texts, f"{{home}}/{{out}}", config=few, progress=lambda _: None)
        return len(ulmfit.Corpus.load(texts))
    assert cli.main(["predict", model, texts, "--out", f"{{home}}/{{out}}.csv"]) == 0

run(small, "small")
status = Path("/proc/self/status").read_text()
has = int(status.split("VmSize:")[1].split()[0]) << 10
limit = has + {SLACK_MB} * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
found = run(large, "large")
print(json.dumps({{"limit_mb": limit >> 20, "documents": found}}))
"""


def write_texts(path: Path, *, mb: int) -> Path:
    """Write labelled texts of random words, each with a word of its own."""
    lottery = random.Random(0)
    words = ["".join(lottery.choices("abcdefghijklmnopqrstuvwxyz", k=9)) for _ in range(5_000)]
    texts = [" ".join(lottery.choices(words, k=100)) for _ in range(2_000)]
    with open(path, "w", encoding="utf-8") as file:
        file.write("text,label\n")
        for number in range(mb * 2**20 // 1_020):
            label = "pos" if number % 2 else "neg"
            file.write(f"{texts[number % 1_999]} rare{number},{label}\n")
    return path


def run_under_a_limit(
    verb: str, small: Path, large: Path, home: Path, model: Path
) -> dict[str, int]:
    argv = [verb, str(small), str(large), str(home), str(model)]
    done = subprocess.run(
        [sys.executable, "-c", _UNDER_A_LIMIT, *argv], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_files_larger_than_the_limit(demo_corpus: Corpus, tmp_path: Path) -> None:
    """Prepared, learnt from and answered."""
    few, many = (
        write_texts(tmp_path / "few.csv", mb=2),
        write_texts(tmp_path / "many.csv", mb=2_048),
    )
    model = write_tiny_classifier(tmp_path / "clf", demo_corpus).folder
    told = run_under_a_limit("prepare", few, many, tmp_path, model)
    assert many.stat().st_size > 2 * SLACK_MB * 2**20
    small, large = tmp_path / "small", tmp_path / "large"
    assert run_under_a_limit("train", small, large, tmp_path / "lm", model)["documents"] > 2_000_000
    run_under_a_limit("predict", few, many, tmp_path, model)
    with open(tmp_path / "large.csv", "rb") as answers:
        assert sum(1 for _ in answers) == 1 + told["documents"]
