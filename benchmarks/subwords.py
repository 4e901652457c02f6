"""Raw text -> SentencePiece ids, rules included, beside the library's own `encode` of the same texts.

    python benchmarks/subwords.py imdb --data-dir DIR

One process, in turn over the parts of the corpus: our subword tokenizer with fastai's rules, cold and then warm, and
`SentencePieceProcessor.encode(list)` of the same texts after the rules, which is the encoding alone: the rules are not
timed for it. Ours runs on one core but for the encoding of new words; `encode` is timed on one (num_threads=1) and on
all of them (its default). Prints one JSON line: the ratios of our rate to that of `encode`, with the spread over the
parts, and the number of sampled texts whose pieces differ (the library sums scores over a whole text in single
precision, we over a word).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

from sentencepiece import SentencePieceProcessor

from ulmfit import TextConfig
from ulmfit.text.pieces import train_subwords
from ulmfit.text.rules import CONTROL_TOKENS, apply_rules
from ulmfit.text.sources import open_source
from ulmfit.text.tokenizers import build_tokenizer

PARTS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("source", help="a file, or the name of a data set")
    parser.add_argument("--data-dir")
    parser.add_argument("--text", default="text")
    parser.add_argument("--documents", type=int, default=10**9)
    parser.add_argument("--pieces", type=int, default=15_000)
    args = parser.parse_args()
    source = open_source(args.source, text=args.text, label=None, data_dir=args.data_dir)
    texts = [text for batch in source.batches() for text in batch.fields[0]][: args.documents]
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "subwords.model"
        sample = (apply_rules("fastai", text) for text in texts[:10_000])
        train_subwords(sample, model, n_pieces=args.pieces, kind="unigram")
        processor = SentencePieceProcessor(model_file=str(model))
        tokenizer = build_tokenizer(TextConfig(tokenizer="subword", sp_model=str(model)))
        results = [run(name, texts, tokenizer, processor) for name in ("cold", "warm")]
    size = sum(len(text.encode()) for text in texts) / 1e6
    print(
        json.dumps(
            {
                "benchmark": "raw text to SentencePiece ids",
                "compared": "ulmfit, rules included; SentencePieceProcessor.encode(list) alone",
                "documents": len(texts),
                "megabytes": round(size, 1),
                "pieces": args.pieces,
                "passes": results,
                "machine": f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
            }
        )
    )


def run(name: str, texts: list[str], tokenizer, processor) -> dict[str, object]:
    step = -(-len(texts) // PARTS)
    ours, one_core, all_cores, differing = [], [], [], 0
    for first in range(0, len(texts), step):
        part = texts[first : first + step]
        start = time.perf_counter()
        coded = tokenizer.code([part])
        ours.append(time.perf_counter() - start)
        ruled = [apply_rules("fastai", text) for text in part]
        for seconds, n_threads in ((one_core, 1), (all_cores, -1)):
            start = time.perf_counter()
            processor.encode(ruled, num_threads=n_threads)
            seconds.append(time.perf_counter() - start)
        differing += count_differing(part[:200], coded, tokenizer, processor)
    return {
        "pass": name,
        "to_encode_on_one_core": compare(ours, one_core),
        "to_encode_on_all_cores": compare(ours, all_cores),
        "texts_that_differ": f"{differing} of {min(200, step) * len(ours)}",
    }


def compare(ours: list[float], theirs: list[float]) -> dict[str, float]:
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    return {
        "ratio": round(sum(theirs) / sum(ours), 2),
        "part_min": round(min(ratios), 2),
        "part_median": round(statistics.median(ratios), 2),
        "part_max": round(max(ratios), 2),
    }


def count_differing(texts: list[str], coded, tokenizer, processor) -> int:
    """Compare the pieces of ordinary words: control tokens are no pieces of the library's model."""
    tokens = tokenizer.coder.tokens
    codes = iter(coded.codes.tolist())
    differing = 0
    for text, length in zip(texts, coded.lengths.tolist(), strict=False):
        mine = [tokens[next(codes)] for _ in range(length)]
        words = apply_rules("fastai", text).split()
        plain = " ".join(word for word in words if word not in CONTROL_TOKENS)
        whole = processor.encode(plain, out_type=str)
        differing += [token for token in mine if token not in CONTROL_TOKENS] != whole
    return differing


if __name__ == "__main__":
    main()
