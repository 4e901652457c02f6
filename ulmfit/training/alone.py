"""One training at a time in a process, with torch's random generator to itself."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager

import torch

from ulmfit.errors import UserError

_busy = threading.Lock()


@contextmanager
def alone() -> Generator[None]:
    """Keep other trainings out, and give the caller's random numbers back as they were.

    Dropout draws from torch's one generator: two trainings in threads would disturb each other.
    """
    if not _busy.acquire(blocking=False):
        raise UserError(
            "another training runs in this process, and both would draw from one random generator: "
            "wait for it, or train in a process of its own"
        )
    try:
        with torch.random.fork_rng():
            yield
    finally:
        _busy.release()
