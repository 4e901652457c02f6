"""Measuring a language model on validation text: fastai's own model and loss against ours, the same numbers.

    python benchmarks/lm_evaluation.py [--n-vocab 30000] [--rounds 3] [--bs 64] [--seq-len 72] [--threads 2]

Both arms hold the same AWD-LSTM (400 / 1152 / 3 layers) in evaluation mode and read the same batches of
random ids without gradients, state carried on: hidden states, logits over the whole vocabulary, cross
entropy. Ours never holds all logits at once, and multiplies in bfloat16 where the processor does so
natively. Batches alternate A B A B ... in one process after one warm-up each. One JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from fastai.losses import CrossEntropyLossFlat
from torch import Tensor

from ulmfit.models.arch import ArchConfig
from ulmfit.models.language_model import LanguageModel
from ulmfit.models.precision import has_fast_bf16
from ulmfit.models.state import State, detach

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from stock_lm import stock_language_model

Arm = Callable[[Tensor, Tensor], float]


def stock_arm(model: LanguageModel) -> Arm:
    stock, loss = stock_language_model(model).eval(), CrossEntropyLossFlat()

    def evaluate(ids: Tensor, targets: Tensor) -> float:
        return float(loss(stock(ids)[0], targets))

    return evaluate


def our_arm(model: LanguageModel) -> Arm:
    model.eval()
    state: State | None = None

    def evaluate(ids: Tensor, targets: Tensor) -> float:
        nonlocal state
        output = model(ids, state)
        state = detach(output.state)
        return output.losses(targets).mean().item()

    return evaluate


@torch.no_grad()
def compare(options: argparse.Namespace) -> dict[str, object]:
    """Alternate batches of both arms."""
    model = LanguageModel(ArchConfig(), options.n_vocab)
    arms = {"stock": stock_arm(model), "ours": our_arm(model)}
    times: dict[str, list[float]] = {name: [] for name in arms}
    losses: dict[str, float] = {}
    for turn in range(options.rounds + 1):
        ids = torch.randint(9, options.n_vocab, (options.bs, options.seq_len + 1))
        batch = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()
        for name, evaluate in arms.items():
            start = time.perf_counter()
            losses[name] = round(evaluate(*batch), 4)
            if turn:
                times[name].append(time.perf_counter() - start)
    ratios = [stock / ours for stock, ours in zip(times["stock"], times["ours"])]
    n_tokens = options.bs * options.seq_len
    return {
        "ratio_median": round(statistics.median(ratios), 2),
        "ratio_min_max": [round(min(ratios), 2), round(max(ratios), 2)],
        "tokens_per_s": {n: round(n_tokens / statistics.median(t)) for n, t in times.items()},
        "last_loss": losses,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-vocab", type=int, default=30_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bs", type=int, default=64)
    parser.add_argument("--seq-len", type=int, default=72)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    result = compare(options)
    load = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    print(json.dumps({**vars(options), "bf16": has_fast_bf16(), "load_average": load, **result}))


if __name__ == "__main__":
    main()
