"""How fast the language model's batches come, and what a large corpus costs in time and memory.

    python benchmarks/lm_batches.py [--million-tokens 100] [--document-tokens 250]

Speed: full passes of our training loader and of fastai's `LMDataLoader` (one tensor a document, no
workers) over the same documents, 64 x 72, both shuffled, both up to the (x, y) tensors on the CPU.
The passes alternate in one process, A B A B ...; each ratio is that of two neighbours. Only drawing
is timed: building fastai's tensors is not. fastai gets 2 million tokens, since it needs 8 bytes for
each; our own rate is also given over the whole memory-mapped file.

Size: random ids in a temporary file, opened as a memory map. `open_ms` makes the stream,
`first_batch_ms` starts an epoch and draws its first batch. `start_allocated_mb` is the most memory
that both together ask for; `start_rss_mb` is what they add to the peak of resident memory, which
counts the pages of the file that the system maps around those that are read. One JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from fastai.text.data import LMDataLoader

from ulmfit.text.batches import LMLoader
from ulmfit.text.lm_stream import LMStream

BS, SEQ_LEN, REPEATS = 64, 72, 5
FASTAI_TOKENS = 2_000_000
VOCAB = ["w"] * 60_000


@dataclass(frozen=True)
class Ids:
    """The part of a corpus that a stream is made of."""

    ids: np.ndarray
    offsets: np.ndarray
    vocab: list[str]


def make_ids(path: Path, n_tokens: int, document_tokens: int) -> Ids:
    """Write random ids and map them; document lengths are spread as in real text (log-normal)."""
    generator = np.random.default_rng(0)
    n_documents = max(1, n_tokens // document_tokens)
    lengths = generator.lognormal(0, 0.6, n_documents)
    lengths = np.maximum(1, (lengths * n_tokens / lengths.sum()).astype(np.int64))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    with open(path, "wb") as file:
        for start in range(0, int(offsets[-1]), 1 << 22):
            size = min(1 << 22, int(offsets[-1]) - start)
            file.write(generator.integers(2, 60_000, size, dtype=np.uint16).tobytes())
    return Ids(np.memmap(path, np.uint16, mode="r"), offsets, VOCAB)


def make_stream(corpus: Ids) -> LMStream:
    rows = np.arange(len(corpus.offsets) - 1)
    return LMStream(corpus.ids, corpus.offsets, rows=rows, bs=BS, seq_len=SEQ_LEN)


def make_fastai(corpus: Ids) -> LMDataLoader:
    ids = torch.from_numpy(corpus.ids.astype(np.int64))
    lengths = np.diff(corpus.offsets).tolist()
    documents = list(ids.split(lengths))
    return LMDataLoader(
        documents, lens=lengths, bs=BS, seq_len=SEQ_LEN, shuffle=True, num_workers=0
    )


def seconds(batches: Iterable[object]) -> float:
    """Time one pass."""
    start = time.perf_counter()
    deque(batches, maxlen=0)
    return time.perf_counter() - start


def peak_rss_mb() -> float | None:
    """Read this process's highest resident memory so far; None where the system does not say."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def measure_start(corpus: Ids) -> dict[str, float | None]:
    """Time and weigh the way from a mapped file to the first batch."""
    before = peak_rss_mb()
    start = time.perf_counter()
    stream = make_stream(corpus)
    opened = time.perf_counter()
    next(stream.batches(0))
    drawn = time.perf_counter()
    after = peak_rss_mb()
    tracemalloc.start()
    next(make_stream(corpus).batches(0))
    allocated = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return {
        "open_ms": round(1e3 * (opened - start), 1),
        "first_batch_ms": round(1e3 * (drawn - opened), 1),
        "start_allocated_mb": round(allocated / 2**20, 1),
        "start_rss_mb": None if before is None or after is None else round(after - before, 1),
    }


def measure_speed(corpus: Ids) -> dict[str, float | list[float]]:
    """Alternate passes of both loaders over the same documents."""
    n_tokens = int(corpus.offsets[-1])
    ours, stock = LMLoader(corpus, make_stream(corpus)), make_fastai(corpus)
    pairs = [(seconds(ours), seconds(stock)) for _ in range(REPEATS)]
    ratios = [b / a for a, b in pairs]
    return {
        "compared_tokens": n_tokens,
        "ours_mtok_per_s": round(statistics.median(n_tokens / a / 1e6 for a, _ in pairs), 1),
        "fastai_mtok_per_s": round(statistics.median(n_tokens / b / 1e6 for _, b in pairs), 3),
        "ratio_median": round(statistics.median(ratios), 1),
        "ratio_min_max": [round(min(ratios), 1), round(max(ratios), 1)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--million-tokens", type=int, default=100)
    parser.add_argument("--document-tokens", type=int, default=250, help="mean document length")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        size = options.million_tokens * 1_000_000
        large = make_ids(Path(folder) / "large.bin", size, options.document_tokens)
        small = make_ids(Path(folder) / "small.bin", FASTAI_TOKENS, options.document_tokens)
        result: dict[str, object] = {
            "tokens": int(large.offsets[-1]),
            "documents": len(large.offsets) - 1,
        }
        result |= measure_start(large)
        loader = LMLoader(large, make_stream(large))
        passes = [int(large.offsets[-1]) / seconds(loader) / 1e6 for _ in range(3)]
        result["whole_file_mtok_per_s"] = round(statistics.median(passes), 1)
        result["whole_file_min_max"] = [round(min(passes), 1), round(max(passes), 1)]
        result |= measure_speed(small)
        result["load_average"] = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    print(json.dumps(result))


if __name__ == "__main__":
    main()
