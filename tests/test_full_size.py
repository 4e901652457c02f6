"""The script for the paper's size: with a tiny preset and two batches an epoch it goes from texts to results, in slices."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[1]
SMALL = ("epochs=1", "max_batches=2", "arch.emb_sz=8", "arch.n_hid=12")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a script for bash")


def script(*argv: object) -> subprocess.CompletedProcess[str]:
    """Run it with this Python's `ulmfit`."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        ["bash", ROOT / "benchmarks" / "full_size.sh", *map(str, argv)],
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "PRESET": "tiny"},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("argv", [(), ("prepare", "run", "general.csv"), ("train",), ("fit", "x")])
def test_a_call_that_lacks_something_says_how_to(argv: tuple[str, ...]) -> None:
    done = script(*argv)
    assert done.returncode == 2
    assert "full_size.sh prepare RUN GENERAL DATA_SET" in done.stderr and not done.stdout


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_it_goes_from_texts_to_results_in_slices(tmp_path: Path, tiny_frame: pd.DataFrame) -> None:
    texts, general, run = tmp_path / "texts.csv", tmp_path / "general.csv", tmp_path / "run"
    pd.concat([tiny_frame] * 4).to_csv(texts, index=False)
    pd.DataFrame({"text": ["a long film about a short film " * 8] * 30}).to_csv(
        general, index=False
    )
    done = script("prepare", run, general, texts, "--split", "split")
    assert done.returncode == 0, done.stderr
    settings = [word for setting in SMALL for word in ("--set", f"stage1.{setting}")]
    assert script("train", run, "--max-minutes", "0.001", *settings).returncode == 3
    done = script("train", run, *settings)
    assert done.returncode == 0, done.stderr
    (found,) = json.loads((run / "out" / "results.json").read_text())["runs"]
    assert (found["direction"], found["n_documents"]) == ("both", 16)
    assert (run / "out" / "report.html").is_file()
