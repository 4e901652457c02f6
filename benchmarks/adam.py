"""One step of Adam over all weights of a language model: fastai's own against torch's fused kernel.

    python benchmarks/adam.py [--n-vocab 30000] [--sizes 400 1152 3] [--rounds 20] [--threads N]

Both arms hold the same weights and the same random gradients. Steps alternate in one process after a warm-up each;
every ratio is that of two neighbours. `difference` is the largest one of any weight after all steps. One JSON line.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from copy import deepcopy

import torch
from fastai.optimizer import Adam
from lm_step import add_sizes

from ulmfit.models.arch import ArchConfig
from ulmfit.models.language_model import LanguageModel

LR, MOM, SQR_MOM, EPS, WD = 1e-3, 0.8, 0.99, 1e-5, 0.01


def main() -> None:
    """Alternate steps of both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-vocab", type=int, default=30_000)
    add_sizes(parser)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=0)
    told = parser.parse_args()
    if told.threads:
        torch.set_num_threads(told.threads)
    torch.manual_seed(0)
    ours = list(LanguageModel(ArchConfig("awd_lstm", *told.sizes), told.n_vocab).parameters())
    stock = deepcopy(ours)
    settings = {"betas": (MOM, SQR_MOM), "eps": EPS, "weight_decay": WD}
    optimizers = {
        "stock": Adam(stock, LR, mom=MOM, sqr_mom=SQR_MOM, eps=EPS, wd=WD),
        "ours": torch.optim.AdamW(ours, LR, fused=True, **settings),
    }
    seconds: dict[str, list[float]] = {name: [] for name in optimizers}
    for _ in range(1 + told.rounds):
        for a, b in zip(stock, ours, strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        for name, optimizer in optimizers.items():
            start = time.perf_counter()
            optimizer.step()
            seconds[name].append(time.perf_counter() - start)
    ratios = [a / b for a, b in zip(seconds["stock"][1:], seconds["ours"][1:], strict=True)]
    differences = [float((a - b).detach().abs().max()) for a, b in zip(stock, ours, strict=True)]
    print(
        json.dumps(
            {
                "ratio_median": round(statistics.median(ratios), 2),
                "ratio_min_max": [round(min(ratios), 2), round(max(ratios), 2)],
                "ms": {n: round(1e3 * statistics.median(t[1:]), 1) for n, t in seconds.items()},
                "weights": sum(p.numel() for p in ours),
                "difference": max(differences),
                "threads": torch.get_num_threads(),
            }
        )
    )


if __name__ == "__main__":
    main()
