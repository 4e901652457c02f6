"""Kill -9 at random moments of the whole recipe: what is left in the end is what an undisturbed run leaves."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pandas as pd
import pytest
from kill_anywhere import Tally, leftovers, series

import ulmfit

pytestmark = pytest.mark.skipif(os.name == "nt", reason="fork and SIGKILL are POSIX")


@pytest.mark.parametrize("n_polls", [0, 3])
def test_a_killed_prepare_leaves_nothing(
    demo_frame: pd.DataFrame, tmp_path: Path, n_polls: int
) -> None:
    texts = demo_frame.text[:300].tolist()
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    ulmfit.prepare(texts, whole / "c")
    for _ in range(3):
        process = multiprocessing.get_context("fork").Process(
            target=ulmfit.prepare, args=(texts, killed / "c")
        )
        process.start()
        while not leftovers(killed):
            assert process.is_alive()
            time.sleep(0.001)
        time.sleep(0.01 * n_polls)
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        assert leftovers(killed)
    ulmfit.prepare(texts, killed / "c")
    assert os.listdir(killed) == ["c"]
    names = [path.relative_to(whole) for path in whole.rglob("*") if path.is_file()]
    for name in names:
        assert (killed / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_few_kills(tmp_path: Path) -> None:
    require_equal(tmp_path, n_kills=3, seed=int.from_bytes(os.urandom(4), "big"))


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_fifty_kills(tmp_path: Path) -> None:
    tally = require_equal(tmp_path, n_kills=50, seed=0)
    assert len(tally.at) > 3  # over several stages
    assert 0 < tally.while_writing < tally.kills


def require_equal(work: Path, *, n_kills: int, seed: int) -> Tally:
    tally = series(work, n_kills=n_kills, seed=seed)
    assert tally.kills == n_kills
    assert not tally.differences, (seed, tally.differences)
    assert not tally.leftovers, (seed, tally.leftovers)
    return tally
