"""How much memory this process has needed so far, at its peak; and giving back what it no longer needs."""

from __future__ import annotations

import ctypes
import functools
import importlib
import math
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ulmfit.errors import UserError

if TYPE_CHECKING:
    from ulmfit.training.config import StageConfig


def peak_mb() -> float:
    """Return the peak in MB; not a number where the system does not tell, as on Windows."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss of a child process begins with that of its parent
        lines = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return next((int(line.split()[1]) / 2**10 for line in lines), math.nan)
    try:
        resource = importlib.import_module("resource")
    except ImportError:
        return math.nan
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def peak_gpu_mb() -> float:
    """Return the peak of torch's memory on the first GPU in MB; not a number without one."""
    return torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else math.nan


@contextmanager
def enough_memory(config: StageConfig) -> Generator[None]:
    """Say of a batch that does not fit into memory what to lower, instead of how the allocator failed."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch has no error of its own for a CPU's memory
        is_full = isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError))
        if not is_full and "can't allocate memory" not in str(error):
            raise
        half, twice = config.bs // 2, 2 * config.accumulate
        try:
            replace(config, bs=half, accumulate=twice)
        except UserError:  # a batch cannot be smaller
            raise UserError(
                f"a batch of {config.bs} does not fit into memory, and half of it is too small to learn from: take a smaller model, or a machine with more memory"
            ) from error
        raise UserError(
            f"a batch of {config.bs} does not fit into memory: --bs {half} --accumulate {twice} takes "
            "about half of it and learns alike; --restart forgets what was trained with the other size"
        ) from error


def give_back() -> None:
    """Let the system have freed memory that lies between pieces in use, which glibc keeps, and more of it every hour."""
    if trim := _trim():
        trim(0)


@functools.cache
def _trim() -> Callable[[int], int] | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):  # no glibc, or Windows
        return None
