"""How many threads share the small operations of a recurrent step: one."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Generator[None, None, None]:
    """Keep small operations on the calling thread, and give it its threads back afterwards.

    Each takes microseconds. Sharing them gains little on idle cores, and on a busy machine the
    threads wait for each other thousands of times a batch, which takes longer than all the work.
    """
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)
