"""Does the fast path learn as well? Stock fastai in fp32 against ours, on a piece of WikiText-2, several seeds.

    python benchmarks/wikitext_quality.py --data-dir DIR [--batches 120] [--bs 64] [--lr 0.003]
        [--sizes 400 1152 3] [--valid-tokens 60000] [--seeds 0 1 2] [--emulate-bf16]

For each seed both arms begin with the same weights of an AWD-LSTM (400 / 1152 / 3 layers)
and read the same batches of 64 x 70 in the same order: one epoch of so many batches of WikiText-2's
train split, one cycle to `--lr`, clipping 0.1, decoupled weight decay 0.1, dropouts times 0.1, AR 2 and
TAR 1, as fastai 1 trained its WikiText-103 model, but for the rate: at its 1e-2 so short a training of
full size may come to nothing. Stock is fastai's Learner, model, loss and Adam in
fp32; ours is `language_model_learner` with precision="auto", or with bfloat16 whose products run
in float32 where the processor has none (`--emulate-bf16`). Dropout masks differ. Both end with a
perplexity on the same first tokens of the valid split, measured by one and the same function in fp32.
One JSON line: perplexities, their means and spreads, and seconds of training.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from fastai.callback.rnn import ModelResetter, RNNCallback, RNNRegularizer
from fastai.callback.training import GradientClip
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.optimizer import Adam
from fastai.text.models.awdlstm import awd_lstm_lm_split
from torch import nn

from ulmfit.models.language_model import LanguageModel
from ulmfit.models.precision import has_fast_bf16
from ulmfit.models.state import State, detach, resize
from ulmfit.text.batches import lm_dataloaders
from ulmfit.text.corpus import Corpus
from ulmfit.text.holdout import Rows
from ulmfit.text.prepare import prepare
from ulmfit.training.config import PretrainConfig
from ulmfit.training.lm_learner import LMLearner, language_model_learner
from ulmfit.training.presets import PRETRAIN_PRESETS

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from emulated_bf16 import EmulatedBF16
from stock_lm import pairs, stock_language_model

CONFIG = replace(PRETRAIN_PRESETS["fastai-v1"], bs=64, seq_len=70, epochs=1, lr=3e-3)


def first_rows(corpus: Corpus, split: str, n_tokens: int) -> np.ndarray:
    """Take documents from the beginning of a split until they have so many tokens."""
    rows = corpus.rows(split)
    sizes = (corpus.offsets[rows + 1] - corpus.offsets[rows]).cumsum()
    return rows[: int(np.searchsorted(sizes, n_tokens)) + 1]


def our_learner(corpus: Corpus, rows: Rows, config: PretrainConfig) -> LMLearner:
    learn = language_model_learner(corpus, config=config)
    learn.dls = lm_dataloaders(
        corpus, rows=rows, bs=config.bs, seq_len=config.seq_len, seed=config.seed
    )
    return learn


def stock_learner(learn: LMLearner) -> Learner:
    return Learner(
        learn.dls,
        stock_language_model(learn.model),
        loss_func=CrossEntropyLossFlat(),
        opt_func=partial(Adam, sqr_mom=CONFIG.sqr_mom, eps=CONFIG.eps, decouple_wd=True),
        splitter=awd_lstm_lm_split,
        cbs=[ModelResetter(), RNNCallback(), RNNRegularizer(2, 1), GradientClip(CONFIG.clip)],
        wd=CONFIG.wd,
    )


def train(learn: Learner, config: PretrainConfig) -> float:
    """Run the cycle without validation; seconds."""
    shape = config.shape()
    learn._do_epoch_validate = lambda *_, **__: None
    learn.dls.train.epoch = 0
    start = time.perf_counter()
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(
            1,
            config.lr,
            div=shape.div,
            div_final=shape.div_final,
            pct_start=shape.rise,
            moms=shape.moms,
        )
    return time.perf_counter() - start


@torch.no_grad()
def perplexity(model: nn.Module, learn: LMLearner) -> float:
    """Measure weights in fp32 on the valid tokens, batched."""
    exact = LanguageModel(model.arch, model.n_vocab, precision="fp32").eval()
    exact.load_state_dict(model.state_dict())
    nats, tokens, state = 0.0, 0, None
    for ids, targets in learn.dls.valid:
        before: State | None = None if state is None else resize(state, len(ids))
        output = exact(ids, before)
        state = detach(output.state)
        losses = output.losses(targets).losses
        nats, tokens = nats + losses.double().sum().item(), tokens + losses.numel()
    return float(np.exp(nats / tokens))


def compare(
    corpus: Corpus, rows: Rows, config: PretrainConfig, products: AbstractContextManager[object]
) -> dict[str, dict[str, float]]:
    seed = config.seed
    ours = our_learner(corpus, rows, config)
    before = perplexity(ours.model, ours)
    stock = stock_learner(ours)
    torch.manual_seed(seed)
    found = {"stock": {"seconds": train(stock, config)}}
    torch.manual_seed(seed)
    with products:
        found["ours"] = {"seconds": train(ours, config)}
    found["ours"]["perplexity"] = perplexity(ours.model, ours)
    with torch.no_grad():  # the stock weights, for the same function to measure
        for theirs, own in pairs(stock.model, ours.model):
            own.copy_(theirs)
    found["stock"]["perplexity"] = perplexity(ours.model, ours)
    print(json.dumps({"seed": seed, "before": before, **found}), file=sys.stderr, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--batches", type=int, default=120)
    parser.add_argument("--bs", type=int, default=CONFIG.bs)
    parser.add_argument("--lr", type=float, default=CONFIG.lr)
    parser.add_argument("--sizes", type=int, nargs=3, default=[400, 1152, 3])
    parser.add_argument("--valid-tokens", type=int, default=60_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--emulate-bf16", action="store_true")
    options = parser.parse_args()
    precision = "bf16" if options.emulate_bf16 else "auto"
    emb_sz, n_hid, n_layers = options.sizes
    arch = replace(CONFIG.arch, emb_sz=emb_sz, n_hid=n_hid, n_layers=n_layers)
    config = replace(CONFIG, arch=arch, bs=options.bs, lr=options.lr, precision=precision)
    products = EmulatedBF16() if options.emulate_bf16 else nullcontext()
    with tempfile.TemporaryDirectory() as folder:
        corpus = prepare("wikitext-2", Path(folder) / "corpus", data_dir=options.data_dir)
        n_tokens = options.batches * config.bs * config.seq_len
        rows = Rows(
            first_rows(corpus, "train", n_tokens),
            first_rows(corpus, "valid", options.valid_tokens),
            "",
        )
        runs = [
            compare(corpus, rows, replace(config, seed=seed), products) for seed in options.seeds
        ]
    summary = {}
    for arm in ("stock", "ours"):
        perplexities = [run[arm]["perplexity"] for run in runs]
        summary[arm] = {
            "perplexities": [round(p, 2) for p in perplexities],
            "mean": round(statistics.mean(perplexities), 2),
            "sd": round(statistics.stdev(perplexities), 2) if len(runs) > 1 else None,
            "seconds": [round(run[arm]["seconds"]) for run in runs],
        }
    facts = {
        "benchmark": "wikitext_quality",
        "n_vocab": len(corpus.vocab),
        "sizes": options.sizes,
        "batches": options.batches,
        "bs": config.bs,
        "lr": config.lr,
        "valid_tokens": options.valid_tokens,
        "seeds": options.seeds,
        "bf16": "emulated" if options.emulate_bf16 else has_fast_bf16(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    print(json.dumps({**facts, **summary}))


if __name__ == "__main__":
    main()
