"""How many threads share the small operations of a recurrent step, or all those of a small model: one.

Where there are several batches to answer, each thread takes a batch of its own instead.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import chain, islice
from typing import TypeVar

import torch

from ulmfit.models.arch import ArchConfig

# Multiplications of a recurrent step below which a second thread costs more than it brings.
WORTH_SHARING = 1 << 24
# And below which it brings more on a batch of its own, where there are several.
WORTH_SHARING_ALWAYS = 1 << 27
MOST_AT_ONCE = 8  # batches; each takes memory

Item = TypeVar("Item")
Result = TypeVar("Result")

_lock = threading.Lock()
_n_inside = 0  # threads that keep to themselves now,
_n_usual = 0  # and what torch takes while there are none


@dataclass
class _Own:
    """What is known of a thread."""

    depth: int = 0  # how often it is inside
    n_threads: int = 1  # torch's, when it came


class _Here(threading.local):
    """Where a thread finds what is its own."""

    def __init__(self) -> None:
        self.own = _Own()


_here = _Here()


@contextmanager
def one_thread() -> Generator[None, None, None]:
    """Keep small operations on the calling thread, and give torch its threads back afterwards.

    Each takes microseconds. Sharing them gains little on idle cores, and on a busy machine the
    threads wait for each other thousands of times a batch, which takes longer than all the work.
    torch has one setting a thread, and one that new threads begin with: each caller restores its own.
    """
    global _n_inside, _n_usual
    own = _here.own  # kept: a generator that is left alone may end in another thread
    with _lock:
        if not own.depth:
            own.n_threads = torch.get_num_threads()
            if not _n_inside:
                _n_usual = own.n_threads
            elif own.n_threads == 1:  # a new one, which began with what the others had set
                own.n_threads = _n_usual
            torch.set_num_threads(1)
            _n_inside += 1
        own.depth += 1
    try:
        yield
    finally:
        with _lock:
            own.depth -= 1
            if not own.depth:
                _n_inside -= 1
                torch.set_num_threads(own.n_threads)


def _stay_alone() -> None:
    """Keep a worker to itself for good."""
    torch.set_num_threads(1)
    _here.own.depth = 1


def threads_for(arch: ArchConfig, *, bs: int) -> AbstractContextManager[None]:
    """Keep a small model's training on one thread; a large one takes what torch has."""
    is_large = bs * 4 * arch.n_hid**2 >= WORTH_SHARING
    return nullcontext() if is_large else one_thread()


def each(
    work: Callable[[Item], Result], items: Iterable[Item], *, arch: ArchConfig, bs: int
) -> Iterator[Result]:
    """Do the same with every batch, and yield the results in order; of a small model, several at once.

    One thread works on a batch then, and none waits for another in the middle of a step. Few batches, and those of a
    large model, come one after the other.
    """
    items = iter(items)
    is_large = bs * 4 * arch.n_hid**2 >= WORTH_SHARING_ALWAYS
    n = 1 if is_large else min(torch.get_num_threads(), MOST_AT_ONCE)  # 1 while others have them
    first = list(islice(items, 2 * n))
    if n == 1 or len(first) < 2 * n:
        with threads_for(arch, bs=bs):
            yield from map(work, chain(first, items))
        return
    running: deque[Future[Result]] = deque()
    with (
        one_thread(),
        ThreadPoolExecutor(n, initializer=_stay_alone) as pool,
    ):
        try:
            for item in chain(first, items):
                running.append(pool.submit(work, item))
                if len(running) > n:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
