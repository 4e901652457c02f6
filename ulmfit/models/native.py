"""The compiled half of the bfloat16 path: `native.c`, built once by the system's own C compiler.

In: tensors on a CPU. Out: the same tensors, written in place. Without a compiler, without a cache
folder, or with `ULMFIT_NATIVE=off` there are no kernels, and the callers do the same with torch.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from ulmfit.errors import UserError
from ulmfit.files import atomic_file
from ulmfit.text.memo import cache_folder

SOURCE = Path(__file__).with_suffix(".c")
# Nobody asks which exceptions were raised: gcc then turns a choice between numbers into vector instructions of AVX2, too.
FLAGS = ("-O3", "-march=native", "-fno-trapping-math")
MIN_ROWS = 32  # that are worth a thread of their own
_SIZE, _POINTER, _FLOAT = ctypes.c_int64, ctypes.c_void_p, ctypes.c_float
_SIGNATURES = {
    "cell_forward": [_SIZE] * 2 + [_POINTER] * 5,
    "cell_backward": [_SIZE] * 2 + [_POINTER] * 7,
    "softmax_sums": [_SIZE] * 3 + [_POINTER] * 5,
    "softmax_gradients": [_SIZE] * 3 + [_POINTER] * 5 + [_FLOAT] * 2,
    "whole_rows": [_SIZE] * 2 + [_POINTER] * 3 + [_FLOAT] * 2,
}


class NotCompiled(Exception):
    """Why there are no kernels."""


class Kernels:
    """The functions of `native.c` for tensors; matrices are contiguous, rows first."""

    def __init__(self, library: ctypes.CDLL) -> None:
        for name, types in _SIGNATURES.items():
            function = getattr(library, name)
            function.argtypes, function.restype = types, None
        self._library = library

    def cell_forward(
        self, gates: Tensor, kept: Tensor, before: Tensor, after: Tensor, hidden: Tensor
    ) -> None:
        """Do one step of an LSTM's cell, from gates before their activation."""
        pointers = _pointers(gates, kept, before, after, hidden)
        self._library.cell_forward(*before.shape, *pointers)

    def cell_backward(
        self,
        gates: Tensor,
        before: Tensor,
        after: Tensor,
        *,
        d_output: Tensor,
        d_next: Tensor,
        d_cell: Tensor,
        d_gates: Tensor,
    ) -> None:
        """Do one step back; `d_cell` comes in as that of `after` and goes out as that of `before`."""
        pointers = _pointers(gates, before, after, d_output, d_next, d_cell, d_gates)
        self._library.cell_backward(*before.shape, *pointers)

    def whole_rows(
        self, x: Tensor, whole: Tensor, scales: Tensor, *, largest: int, zero: int
    ) -> None:
        """Write bfloat16 rows as whole numbers up to `largest` away from `zero`, and the scale of each row."""
        self._library.whole_rows(*x.shape, *_pointers(x, whole, scales), largest, zero)

    def softmax_sums(
        self, logits: Tensor, bias: Tensor, *, top: Tensor, total: Tensor, best: Tensor | None
    ) -> None:
        """Write each row's highest logit, its sum of exponentials and, if asked, its best word."""
        pointers = _pointers(logits, bias, top, total, best)
        n_rows, n_words = logits.shape
        run = self._library.softmax_sums
        _share(n_rows, lambda first, last: run(first, last, n_words, *pointers))

    def softmax_gradients(
        self,
        logits: Tensor,
        bias: Tensor,
        *,
        top: Tensor,
        total: Tensor,
        truth: Tensor,
        floor: float,
        peak: float,
    ) -> None:
        """Replace logits by their softmax, less `floor` everywhere and `peak` at the true words."""
        pointers = _pointers(logits, bias, top, total, truth)
        n_rows, n_words = logits.shape
        run = self._library.softmax_gradients
        _share(n_rows, lambda first, last: run(first, last, n_words, *pointers, floor, peak))


def kernels() -> Kernels | None:
    """Give the kernels, compiled at the first call; None where they cannot be had."""
    found = _load(os.environ.get("ULMFIT_NATIVE", ""))
    return found if isinstance(found, Kernels) else None


def state() -> str:
    """Say in a word or a line whether there are kernels, and if not why."""
    found = _load(os.environ.get("ULMFIT_NATIVE", ""))
    return "compiled" if isinstance(found, Kernels) else str(found)


@cache
def _load(switch: str) -> Kernels | NotCompiled:
    try:
        if switch == "off":
            raise NotCompiled("switched off by ULMFIT_NATIVE")
        return Kernels(ctypes.CDLL(str(_library())))
    except NotCompiled as reason:
        return reason
    except (OSError, UserError, AttributeError, subprocess.SubprocessError) as error:
        return NotCompiled(f"not compiled: {error}")


def _library() -> Path:
    """Return the compiled library, which is named after all that went into it."""
    compiler, folder = shutil.which("cc"), cache_folder()
    if compiler is None:
        raise NotCompiled("no C compiler (cc)")
    if folder is None:
        raise NotCompiled("no cache folder to compile into")
    # The compiler's own macros tell its version and what this processor can do.
    macros = _run(compiler, *FLAGS, "-dM", "-E", str(SOURCE))
    key = hashlib.sha256(SOURCE.read_bytes() + macros + " ".join(FLAGS).encode()).hexdigest()
    path = folder / f"native-{key[:32]}.so"
    if not path.exists():
        with atomic_file(path) as part:  # two processes may compile at once: the last one stays
            _run(compiler, *FLAGS, "-shared", "-fPIC", "-o", str(part), str(SOURCE))
    return path


def _run(*command: str) -> bytes:
    return subprocess.run(command, check=True, capture_output=True, timeout=60).stdout


def _pointers(*tensors: Tensor | None) -> list[int | None]:
    return [None if tensor is None else tensor.data_ptr() for tensor in tensors]


def _share(n_rows: int, work: Callable[[int, int], None]) -> None:
    """Do rows on as many threads as torch has; a call into C runs beside other Python threads."""
    n_parts = max(1, min(torch.get_num_threads(), n_rows // MIN_ROWS))
    own, *others = pairwise(n_rows * part // n_parts for part in range(n_parts + 1))
    threads = [threading.Thread(target=work, args=bounds) for bounds in others]
    for thread in threads:
        thread.start()
    work(*own)
    for thread in threads:
        thread.join()
