"""What a bulk of documents takes a classifier with several batches at once, against one batch after the other.

    python benchmarks/answering_threads.py [--n-hid 512] [--emb-sz 256] [--documents 400] [--rounds 3] [--threads N]

Random weights and random ids, 30 to 600 tokens a document, on as many threads as torch has by itself or as
--threads says. `before` shares the operations of one batch among the threads, or keeps a small model on one;
`after` is what `Classifier.logits` does. Both give the same bits. One JSON line; ratios are of wall-clock
seconds, by round, with `ratio` their median and `spread` the lowest and the highest.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch

from ulmfit.models.arch import ArchConfig
from ulmfit.models.classifier import Classifier
from ulmfit.models.classifier_arch import ClassifierArch
from ulmfit.models.threads import each, threads_for
from ulmfit.text.buckets import DocumentBatches, PaddedBatch

BS, BATCH_TOKENS, N_VOCAB = 64, 1 << 17, 12_000  # the first two as in inference/classifier.py


def one_by_one(
    work: Callable[[PaddedBatch], np.ndarray],
    batches: Iterator[PaddedBatch],
    *,
    arch: ArchConfig,
    bs: int,
) -> Iterator[np.ndarray]:
    with threads_for(arch, bs=bs):
        yield from map(work, batches)


def main() -> None:
    """Measure, and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (("--n-hid", 512), ("--emb-sz", 256), ("--n-layers", 3)):
        parser.add_argument(name, type=int, default=value)
    for name, value in (("--documents", 400), ("--rounds", 3), ("--threads", 0)):
        parser.add_argument(name, type=int, default=value)
    asked = parser.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    draw = np.random.default_rng(0)
    arch = ArchConfig(emb_sz=asked.emb_sz, n_hid=asked.n_hid, n_layers=asked.n_layers)
    model = Classifier(ClassifierArch.of(arch, 2), N_VOCAB).requires_grad_(False).eval()
    lengths = draw.integers(30, 600, asked.documents)
    ids = draw.integers(9, N_VOCAB, lengths.sum())
    documents = DocumentBatches(
        ids,
        np.cumsum([0, *lengths]),
        rows=np.arange(len(lengths)),
        bs=BS,
        max_tokens=BATCH_TOKENS,
        shuffle=False,
    )

    @torch.no_grad()
    def work(batch: PaddedBatch) -> np.ndarray:
        return model(torch.from_numpy(batch.ids), torch.from_numpy(batch.lengths)).logits.numpy()

    def timed(way: Callable[..., Iterator[np.ndarray]]) -> tuple[float, np.ndarray]:
        begin = time.perf_counter()
        found = np.concatenate(list(way(work, documents.batches(0), arch=arch, bs=BS)))
        return time.perf_counter() - begin, found

    timed(each)  # weights are prepared once
    rounds = [(timed(one_by_one), timed(each)) for _ in range(asked.rounds)]
    assert all(np.array_equal(before[1], after[1]) for before, after in rounds)
    seconds = [(before[0], after[0]) for before, after in rounds]
    ratios = [before / after for before, after in seconds]
    told = {
        "ratio": round(statistics.median(ratios), 2),
        "spread": [round(min(ratios), 2), round(max(ratios), 2)],
        "seconds": [[round(s, 2) for s in pair] for pair in seconds],
        "compared": "one batch after the other / several at once",
        **vars(asked),
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
