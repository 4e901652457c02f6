"""A whole stage against the bare training step: what loader, callbacks, journal and checkpoints cost.

    python benchmarks/stage_speed.py [--batches 24] [--rounds 3] [--n-vocab 30000] [--threads 2]

Both arms train the full-size AWD-LSTM (400 / 1152 / 3 layers, dropouts, both penalties, clipping,
fused Adam) on random ids in batches of 64 x 72. Bare: forward, loss, backward, clip, step, in a loop
over batches made beforehand. Stage: `pretrain_lm` for one epoch of as many batches; its rate is what
history.csv says of the training part, which a run this short spends without a checkpoint (a long one
writes one in ten minutes). Arms alternate in one process; each ratio is that of two neighbours. One
JSON line.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn.utils import clip_grad_norm_

from ulmfit.models.arch import ArchConfig
from ulmfit.models.regularisation import activation_reg, temporal_reg
from ulmfit.models.state import detach
from ulmfit.stages.pretrain_lm import pretrain_lm
from ulmfit.text.corpus import Corpus
from ulmfit.text.prepare import prepare
from ulmfit.training.config import PretrainConfig
from ulmfit.training.lm_learner import language_model_learner

CONFIG = PretrainConfig(
    bs=64, seq_len=72, epochs=1, jitter=False, schedule="flat", arch=ArchConfig(), clip=0.1
)


def make_corpus(options: argparse.Namespace, folder: Path) -> Corpus:
    """Write documents of random words: as many as the batches need, and a few to validate on."""
    words = np.array([f"w{i}" for i in range(options.n_vocab - 9)])
    n_tokens = CONFIG.bs * (CONFIG.seq_len * options.batches + 1)
    generator, texts = np.random.default_rng(0), [" ".join(words)]
    n_left = n_tokens - len(words)
    while n_left > 0:
        texts.append(" ".join(generator.choice(words, min(400, n_left) - 1)))
        n_left -= 400
    rows = [{"text": t, "split": "train"} for t in texts]
    rows += [{"text": t, "split": "valid"} for t in texts[1:9]]
    import pandas as pd

    from ulmfit.config import TextConfig

    config = TextConfig(min_freq=1, max_vocab=options.n_vocab, rules="none")
    return prepare(pd.DataFrame(rows), folder / "corpus", split="split", label=None, config=config)


def bare_rate(corpus: Corpus) -> float:
    """Train in a plain loop; tokens a second."""
    learn = language_model_learner(corpus, config=CONFIG)
    model, batches = learn.model.train(), list(learn.dls.train)
    optimizer = torch.optim.Adam(model.parameters(), CONFIG.lr, fused=True)
    state, n_tokens = None, 0
    start = time.perf_counter()
    for ids, targets in batches:
        output = model(ids, state)
        state = detach(output.state)
        loss = output.losses(targets).mean()
        loss = loss + 2 * activation_reg(output.dropped) + temporal_reg(output.raw)
        loss.backward()
        clip_grad_norm_(model.parameters(), CONFIG.clip or 0.0)
        optimizer.step()
        optimizer.zero_grad()
        n_tokens += targets.numel()
    return n_tokens / (time.perf_counter() - start)


def stage_rate(corpus: Corpus, out: Path) -> float:
    """Train the same as a stage; the rate that its history tells."""
    lm = pretrain_lm(corpus, out, config=CONFIG, progress=lambda _: None)
    return float(lm.history["tokens_per_second"].iloc[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--n-vocab", type=int, default=30_000)
    parser.add_argument("--threads", type=int, help="of torch; default: its own choice")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        corpus = make_corpus(options, Path(folder))
        rates: dict[str, list[float]] = {"bare": [], "stage": []}
        for turn in range(options.rounds):
            rates["bare"].append(bare_rate(corpus))
            rates["stage"].append(stage_rate(corpus, Path(folder) / f"lm{turn}"))
    shares = [a / b for a, b in zip(rates["stage"], rates["bare"])]
    print(
        json.dumps(
            {
                "benchmark": "stage_speed",
                "stage_over_bare_median": round(statistics.median(shares), 3),
                "min_max": [round(min(shares), 3), round(max(shares), 3)],
                "tokens_per_s": {n: round(statistics.median(r)) for n, r in rates.items()},
                "batches": options.batches,
                "rounds": options.rounds,
                "n_vocab": options.n_vocab,
                "threads": torch.get_num_threads(),
                "torch": torch.__version__,
            }
        )
    )


if __name__ == "__main__":
    main()
