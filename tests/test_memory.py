"""Memory that was freed goes back to the system, also where glibc would keep it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from ulmfit.training import callbacks
from ulmfit.training.callbacks import GiveBack
from ulmfit.training.memory import _trim, give_back


def rss_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.skipif(sys.platform != "linux" or _trim() is None, reason="needs glibc")
def test_holes_are_given_back() -> None:
    """A hundred megabytes in pieces of 16 KB, of which one in fifty stays in use."""
    pieces = [bytearray(1 << 14) for _ in range(6_400)]
    kept = pieces[::50]
    del pieces
    before = rss_mb()
    give_back()
    assert before - rss_mb() > 50
    assert len(kept) == 128


def test_it_is_done_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    callback = GiveBack(every=4)
    monkeypatch.setattr(callbacks, "give_back", lambda: calls.append(callback.learn.iter))
    for batch in range(10):
        callback.learn = SimpleNamespace(iter=batch)
        callback.after_batch()
    assert calls == [3, 7]
    callback.after_fit()
    assert len(calls) == 3
