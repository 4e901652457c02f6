"""Raw text -> ids: our pass over a corpus, cold and warm, beside stock fastai's.

    python benchmarks/tokenizing.py imdb --data-dir DIR

Both run in this process on one core, in turn: our tokenizer goes over the whole corpus in ten parts, and after each
part stock fastai (tokenize_texts with n_workers=0, then Numericalize) does a sample of the part's documents. Its speed
does not depend on what came before; ours rises as fewer words are new, which is why we do all of it. Rates are per
byte of UTF-8. "cold" begins with nothing in memory and includes building the tokenizer, counting, and the renumbering
at the end; "warm" is a new tokenizer that loads from disk what the cold one saved. The tokens of the samples are
compared one by one. Prints one JSON line; the spread is the ratio of the slowest and the fastest of the ten parts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from fastai.text.core import tokenize_texts
from fastai.text.data import Numericalize

from ulmfit import TextConfig, Vocab
from ulmfit.text.document_batches import Documents
from ulmfit.text.frames import ListTable
from ulmfit.text.memo import Memo
from ulmfit.text.parts import Parts
from ulmfit.text.sources import open_source
from ulmfit.text.tally import Tally
from ulmfit.text.tokenizers import Tokenizer, build_tokenizer

PARTS = 10
TABLE = ListTable([], "text")  # which no count looks at
Timed = tuple[float, list[list[str]]]  # seconds, and the sampled documents' tokens


def megabytes(texts: list[str]) -> float:
    return sum(len(text.encode()) for text in texts) / 1e6


def stock_part(texts: list[str]) -> Timed:
    start = time.perf_counter()
    tokens = tokenize_texts(texts, n_workers=0)
    numericalize = Numericalize()
    numericalize.setup(tokens)
    for document in tokens:
        numericalize(document)
    return time.perf_counter() - start, [list(document) for document in tokens]


def our_part(tokenizer: Tokenizer, texts: list[str], tally: Tally, n_sampled: int) -> Timed:
    start = time.perf_counter()
    codes, lengths = [], []
    for first in range(0, len(texts), 2_000):
        batch = texts[first : first + 2_000]
        coded = tokenizer.code([batch])
        tally.add(
            Documents((batch,), None, ["train"] * len(batch), [*range(len(batch))], TABLE), coded
        )
        codes.append(coded.codes)
        lengths.append(coded.lengths)
    seconds = time.perf_counter() - start
    tokens = tokenizer.coder.tokens
    flat, ends = np.concatenate(codes), np.cumsum(np.concatenate(lengths)).tolist()
    documents = zip([0, *ends], ends[:n_sampled], strict=False)
    return seconds, [[tokens[code] for code in flat[a:b].tolist()] for a, b in documents]


def renumbering(tokenizer: Tokenizer, tally: Tally) -> float:
    """Time what remains when all is counted: the vocabulary, and codes to ids."""
    codes = np.zeros(tally.n_tokens, np.int32)
    start = time.perf_counter()
    tokens = tokenizer.coder.tokens
    parts = Parts(Path())  # one part needs no database
    parts.add(tally.close(tokens))
    vocab = Vocab.build(parts.counts(("train",), TextConfig().max_vocab))
    vocab.encode(tokens).astype(np.uint16)[codes]
    return time.perf_counter() - start


def passes(texts: list[str], share: float, folder: str) -> Iterator[dict[str, object]]:
    step = -(-len(texts) // PARTS)
    parts = [texts[i : i + step] for i in range(0, len(texts), step)]
    for name in ("cold", "warm"):
        start = time.perf_counter()
        tokenizer, tally = build_tokenizer(TextConfig()), Tally()
        memo = Memo(folder, tokenizer.fingerprint)
        memo.load(tokenizer.coder)
        fixed = time.perf_counter() - start
        ours, stock, ratios, differing = fixed, 0.0, [], 0
        for part in parts:
            sample = part[: max(1, round(share * len(part)))]
            seconds, mine = our_part(tokenizer, part, tally, len(sample))
            stock_seconds, theirs = stock_part(sample)
            stock_seconds *= megabytes(part) / megabytes(sample)
            ours, stock = ours + seconds, stock + stock_seconds
            ratios.append(stock_seconds / seconds)
            differing += sum(a != b for a, b in zip(mine, theirs, strict=True))
        ours += renumbering(tokenizer, tally)
        memo.save(tokenizer.coder)
        mb = megabytes(texts)
        yield {
            "pass": name,
            "ratio": round(stock / ours, 1),
            "part_ratios": {
                "min": round(min(ratios), 1),
                "median": round(statistics.median(ratios), 1),
                "max": round(max(ratios), 1),
            },
            "mb_per_second": {"ours": round(mb / ours, 2), "stock": round(mb / stock, 3)},
            "seconds_to_build_and_load": round(fixed, 2),
            "documents_that_differ": differing,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("source", help="a file, or the name of a data set")
    parser.add_argument("--data-dir")
    parser.add_argument("--text", default="text")
    parser.add_argument("--documents", type=int, default=10**9)
    parser.add_argument("--sample", type=float, default=0.1, help="share that stock fastai does")
    args = parser.parse_args()
    source = open_source(args.source, text=args.text, label=None, data_dir=args.data_dir)
    texts = [text for batch in source.batches() for text in batch.fields[0]][: args.documents]
    with tempfile.TemporaryDirectory() as folder:
        results = list(passes(texts, args.sample, folder))
    print(
        json.dumps(
            {
                "benchmark": "raw text to ids",
                "compared": "ulmfit word tokenizer, fastai rules; fastai 2.8 tokenize_texts + Numericalize",
                "documents": len(texts),
                "megabytes": round(megabytes(texts), 1),
                "passes": results,
                "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
            }
        )
    )


if __name__ == "__main__":
    main()
