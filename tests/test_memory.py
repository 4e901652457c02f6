"""Memory that was freed goes back to the system, also where glibc would keep it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from ulmfit.errors import UserError
from ulmfit.training import callbacks
from ulmfit.training.callbacks import GiveBack
from ulmfit.training.config import FinetuneConfig
from ulmfit.training.memory import _trim, enough_memory, give_back


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


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can't allocate memory"
        ),
    ],
)
def test_a_batch_that_does_not_fit_says_what_to_lower(error: Exception) -> None:
    config = FinetuneConfig(bs=64, accumulate=2)
    said = "a batch of 64 does not fit into memory: --bs 32 --accumulate 4"
    with pytest.raises(UserError, match=said), enough_memory(config):
        raise error


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="shapes"), enough_memory(FinetuneConfig()):
        raise RuntimeError("shapes cannot be multiplied")
