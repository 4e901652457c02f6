"""Writing on after a prompt: stock fastai's `learn.predict` against `LanguageModel.generate`.

    python benchmarks/generation.py [--words 200] [--stock-words 200] [--prompt 200] [--rounds 3] [--threads 2]

Both arms hold the same random AWD-LSTM (400 / 1152 / 3 layers), multiply in float32 and sample at temperature 0.8.
Calls alternate A B A B ... in one process after a warm-up each; every ratio is that of two neighbours.
`--stock-words` spares patience: stock then writes fewer words, and the ratio is that of seconds per word, each over
the words that its arm wrote. Nothing is extrapolated: how a stock word grows dearer is measured by itself, as one word
after a prompt of the given length and one after a prompt longer by `--words`. One JSON line.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from fastai.data.block import DataBlock
from fastai.data.transforms import ColReader
from fastai.losses import CrossEntropyLossFlat
from fastai.text.data import TextBlock
from fastai.text.learner import LMLearner

from ulmfit import LanguageModel, TextConfig, Vocab
from ulmfit.models.arch import ArchConfig
from ulmfit.models.artefact import TextPipeline, save_language_model
from ulmfit.models.language_model import LanguageModel as Module
from ulmfit.models.manifest import Provenance
from ulmfit.text.rules import CONTROL_TOKENS

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from stock_lm import stock_language_model

TEMPERATURE = 0.8
Write = Callable[[str, int], object]


def make_vocab(n_vocab: int) -> Vocab:
    """Invent words that no tokenizer takes apart."""
    letters = itertools.product("bcdfghjklmnpqrstvwxz", repeat=4)
    words = ("z" + "".join(word) for word in letters)
    return Vocab([*CONTROL_TOKENS, *itertools.islice(words, n_vocab - len(CONTROL_TOKENS))])


def our_arm(model: Module, vocab: Vocab, folder: Path) -> Write:
    save_language_model(
        folder / "lm",
        model.state_dict(),
        arch=model.arch,
        vocab=vocab,
        text=TextPipeline.build(TextConfig()),
        provenance=Provenance("random weights"),
    )
    lm = LanguageModel.load(folder / "lm")
    return lambda prompt, n_words: lm.generate(prompt, n_words, temperature=TEMPERATURE, seed=0)


def stock_arm(model: Module, vocab: Vocab, prompt: str) -> Write:
    tokens = list(vocab)
    block = TextBlock.from_df("text", is_lm=True, vocab=tokens, n_workers=0)
    data = DataBlock(blocks=block, get_x=ColReader("text"))
    dls = data.dataloaders(pd.DataFrame({"text": [prompt] * 20}), bs=2, num_workers=0)
    learn = LMLearner(dls, stock_language_model(model), loss_func=CrossEntropyLossFlat())

    def write(prompt: str, n_words: int) -> object:
        with learn.no_bar():
            return learn.predict(prompt, n_words=n_words, temperature=TEMPERATURE, no_bar=True)

    return write


def seconds(write: Write, prompt: str, n_words: int) -> float:
    start = time.perf_counter()
    write(prompt, n_words)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--words", type=int, default=200)
    parser.add_argument("--stock-words", type=int, help="default: as many as --words")
    parser.add_argument("--prompt", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--n-vocab", type=int, default=30_000)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()
    n_stock = args.stock_words or args.words
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    vocab = make_vocab(args.n_vocab)
    words = random.Random(0).choices(vocab[len(CONTROL_TOKENS) :], k=args.prompt + args.words)
    prompt = " ".join(words[: args.prompt])
    model = Module(ArchConfig(), args.n_vocab)
    with tempfile.TemporaryDirectory() as folder:
        ours = our_arm(model, vocab, Path(folder))
    stock = stock_arm(model, vocab, prompt)
    growth = [seconds(stock, text, 1) for text in (prompt, prompt, " ".join(words))][1:]
    ours(prompt, 2)
    pairs = [
        (seconds(stock, prompt, n_stock) / n_stock, seconds(ours, prompt, args.words) / args.words)
        for _ in range(args.rounds)
    ]
    ratios = [theirs / own for theirs, own in pairs]
    print(
        json.dumps(
            {
                "benchmark": "generation",
                "prompt_words": args.prompt,
                "words": {"stock": n_stock, "ours": args.words},
                "vocabulary": args.n_vocab,
                "threads": args.threads,
                "seconds_per_word": {
                    "stock": round(statistics.median(p[0] for p in pairs), 4),
                    "ours": round(statistics.median(p[1] for p in pairs), 4),
                },
                "ratio": round(statistics.median(ratios), 2),
                "ratio_spread": [round(min(ratios), 2), round(max(ratios), 2)],
                "stock_seconds_of_one_word": {
                    f"after_{args.prompt}": round(growth[0], 3),
                    f"after_{args.prompt + args.words}": round(growth[1], 3),
                },
                "torch": torch.__version__,
            }
        )
    )


if __name__ == "__main__":
    main()
