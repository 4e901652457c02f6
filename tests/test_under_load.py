"""A classifier that many ask at once, for long: the sequential answers, no more memory, and the same bits everywhere."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_classifier import write_tiny_classifier

import ulmfit
from ulmfit.models.threads import one_thread
from ulmfit.text.corpus import Corpus

ROOT = Path(__file__).resolve().parents[1]
N_THREADS = 32


@pytest.fixture(scope="module")
def classifier(demo_corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> ulmfit.Classifier:
    parts = write_tiny_classifier(tmp_path_factory.mktemp("load") / "clf", demo_corpus)
    return ulmfit.Classifier.load(parts.folder)


def texts_of_any_length(demo_frame: pd.DataFrame, n: int, *, seed: int) -> list[str]:
    """Draw texts from nothing to some thousand words, in any order."""
    words = " ".join(demo_frame.text[:200]).split()
    lottery = random.Random(seed)
    sizes = [lottery.choice((0, 1, 3, 10, 40, 150, 600)) for _ in range(n)]
    return [" ".join(lottery.choices(words, k=size)) for size in sizes]


@pytest.mark.parametrize(
    "n_texts", [6, pytest.param(1_000, marks=[pytest.mark.slow, pytest.mark.timeout(1_800)])]
)
def test_many_threads_get_the_sequential_answers(
    classifier: ulmfit.Classifier, demo_frame: pd.DataFrame, n_texts: int
) -> None:
    asked = [texts_of_any_length(demo_frame, n_texts, seed=seed) for seed in range(N_THREADS)]
    with one_thread():
        alone = [classifier.predict_proba(texts, precision="fp32") for texts in asked]
        fresh = ulmfit.Classifier.load(classifier.folder)  # nobody has built its parts yet
        with ThreadPoolExecutor(N_THREADS) as pool:
            together = list(pool.map(lambda t: fresh.predict_proba(t, precision="fp32"), asked))
    for one, other in zip(alone, together):
        assert np.abs(one - other).max() <= 1e-5


def rss_mb() -> float:
    """Read how much memory this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    "n", [400, pytest.param(100_000, marks=[pytest.mark.slow, pytest.mark.timeout(3_600)])]
)
def test_many_predictions_take_no_more_memory(classifier: ulmfit.Classifier, n: int) -> None:
    """Each text has a word that nobody has seen: what is remembered of words is bounded, too."""
    with one_thread():
        for i in range(n // 2):
            classifier.predict_proba([f"a fine film{i} of its time"], precision="fp32")
        before = rss_mb()
        for i in range(n):
            classifier.predict_proba([f"a dull film{n + i} of its time"], precision="fp32")
    assert rss_mb() - before < 25


_STAGES = """
import sys
from dataclasses import replace
import ulmfit
from ulmfit.models.arch import ArchConfig
from ulmfit.models.threads import one_thread
from ulmfit.training.presets import CLASSIFIER_PRESETS, FINETUNE_PRESETS, PRETRAIN_PRESETS
texts, out, workers = sys.argv[1:]
quiet = {"progress": lambda _: None}
with one_thread():
    config = ulmfit.TextConfig(min_freq=2)
    corpus = ulmfit.prepare(texts, f"{out}/corpus", split="split", config=config, n_workers=int(workers))
    arch = ArchConfig(emb_sz=8, n_hid=8, n_layers=1)
    lm = ulmfit.pretrain_lm(corpus, f"{out}/lm", config=replace(PRETRAIN_PRESETS["tiny"], epochs=1, arch=arch), **quiet)
    lm = ulmfit.finetune_lm(lm, corpus, f"{out}/tuned", config=replace(FINETUNE_PRESETS["tiny"], epochs=1), **quiet)
    ulmfit.train_classifier(lm, corpus, f"{out}/clf", config=replace(CLASSIFIER_PRESETS["tiny"], epochs=1), **quiet)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_all_stages_leave_the_same_bits_in_any_process(
    demo_frame: pd.DataFrame, tmp_path: Path
) -> None:
    """Each process has its own order of hashes, and another number of workers."""
    demo_frame[:200].to_csv(tmp_path / "texts.csv", index=False)
    found = []
    for workers in (0, 1, 3):
        out = tmp_path / str(workers)
        argv = [sys.executable, "-c", _STAGES, str(tmp_path / "texts.csv"), str(out), str(workers)]
        environment = {**os.environ, "PYTHONHASHSEED": str(workers + 1)}
        subprocess.run(argv, check=True, cwd=ROOT, env=environment)
        patterns = ("*.safetensors", "*.npy", "vocab.json", "labels.json", "steps.csv")
        paths = sorted(path for pattern in patterns for path in out.rglob(pattern))
        hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
        found.append(dict(zip([str(path.relative_to(out)) for path in paths], hashes)))
    assert len(found[0]) > 12
    assert found[0] == found[1] == found[2]
