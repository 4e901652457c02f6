"""How many threads share the small operations of a recurrent step, or all those of a small model: one."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from ulmfit.models.arch import ArchConfig

# Multiplications of a recurrent step below which a second thread costs more than it brings.
WORTH_SHARING = 1 << 24

_lock = threading.Lock()
_n_inside = 0
_n_before = 0


@contextmanager
def one_thread() -> Generator[None, None, None]:
    """Keep small operations on the calling thread, and give torch its threads back afterwards.

    Each takes microseconds. Sharing them gains little on idle cores, and on a busy machine the
    threads wait for each other thousands of times a batch, which takes longer than all the work.
    torch has one setting for the process: of callers that overlap, the last one out restores it.
    """
    global _n_inside, _n_before
    with _lock:
        if not _n_inside:
            _n_before = torch.get_num_threads()
            torch.set_num_threads(1)
        _n_inside += 1
    try:
        yield
    finally:
        with _lock:
            _n_inside -= 1
            if not _n_inside:
                torch.set_num_threads(_n_before)


def threads_for(arch: ArchConfig, *, bs: int) -> AbstractContextManager[None]:
    """Keep a small model's training on one thread; a large one takes what torch has."""
    is_large = bs * 4 * arch.n_hid**2 >= WORTH_SHARING
    return nullcontext() if is_large else one_thread()
