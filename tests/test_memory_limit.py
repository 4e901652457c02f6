"""Preparing and predicting under a hard limit of the address space, from files several times larger than it."""

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
SLACK_MB = 200
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is enforced on Linux")

# The limit is what the process has after a first small run of the same, and a slack that is the same for any file.
_UNDER_A_LIMIT = f"""
import json, resource, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
import ulmfit
from ulmfit import cli
verb, small, large, home, model = sys.argv[1:]

def run(texts, out):
    if verb == "prepare":
        config = ulmfit.TextConfig(max_vocab=20_000)
        return len(ulmfit.prepare(texts, f"{{home}}/{{out}}", config=config))
    assert cli.main(["predict", model, texts, "--out", f"{{home}}/{{out}}.csv"]) == 0

run(small, "small")
page = resource.getpagesize()
has = int(Path("/proc/self/statm").read_text().split()[0]) * page
limit = has + {SLACK_MB} * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
found = run(large, "large")
print(json.dumps({{"limit_mb": limit >> 20, "documents": found}}))
"""


def write_texts(path: Path, *, mb: int) -> Path:
    """Write labelled texts of random words, some of which no other text has."""
    lottery = random.Random(0)
    words = ["".join(lottery.choices("abcdefghijklmnopqrstuvwxyz", k=9)) for _ in range(5_000)]
    with open(path, "w", encoding="utf-8") as file:
        file.write("text,label\n")
        for number in range(mb * 2**20 // 1_020):
            text = " ".join(lottery.choices(words, k=100))
            file.write(f"{text} unique{number},{'pos' if number % 2 else 'neg'}\n")
    return path


def run_under_a_limit(verb: str, large: Path, home: Path, model: Path) -> dict[str, int]:
    small = write_texts(home / "few.csv", mb=2)
    argv = [
        sys.executable,
        "-c",
        _UNDER_A_LIMIT,
        verb,
        str(small),
        str(large),
        str(home),
        str(model),
    ]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2_000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.timeout(3_000)
@pytest.mark.parametrize(("verb", "mb"), [("prepare", 600), ("predict", 600)])
def test_a_file_larger_than_the_limit(
    demo_corpus: Corpus, tmp_path: Path, verb: str, mb: int
) -> None:
    large = write_texts(tmp_path / "many.csv", mb=mb)
    assert large.stat().st_size > 2.8 * SLACK_MB * 2**20
    model = write_tiny_classifier(tmp_path / "clf", demo_corpus).folder
    run_under_a_limit(verb, large, tmp_path, model)
