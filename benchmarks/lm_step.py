"""One training step of the language model: fastai's own against ours.

    python benchmarks/lm_step.py [--n-vocab 30000] [--sizes 400 1152 3] [--rounds 3] [--threads 2] [--memory]

Both arms hold the same AWD-LSTM (the paper's sizes unless told, all dropouts on) from the same weights and
see the same batches of random ids. A step is: forward, cross entropy over the whole vocabulary,
activation and temporal regularisation (2, 1), backward, gradient clipping, Adam. Stock is fastai's
model, loss and Adam; ours is the package's model and fused loss with torch's fused AdamW.
Steps alternate A B A B ... in one process after one warm-up each; every ratio is that of two
neighbours. `--memory` adds the peak of resident memory of each arm, two steps in a process of its
own with the imports that the arm needs. The losses are those of the warm-up step: same weights, different dropout masks. One JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from peak import peak_mb
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from ulmfit.models.arch import ArchConfig
from ulmfit.models.language_model import LanguageModel
from ulmfit.models.precision import has_fast_bf16
from ulmfit.models.regularisation import activation_reg, temporal_reg
from ulmfit.models.state import State, detach

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

ALPHA, BETA, CLIP, LR = 2.0, 1.0, 0.1, 1e-3
Step = Callable[[Tensor, Tensor], float]


def stock_step(model: LanguageModel) -> Step:
    # Here, so that the process that measures the memory of ours holds what ours needs, and no fastai.
    from fastai.optimizer import Adam
    from stock_lm import stock_language_model, stock_loss

    stock = stock_language_model(model).train()
    parameters = list(stock.parameters())
    optimizer = Adam(parameters, LR, mom=0.8, wd=0.01)

    def step(ids: Tensor, targets: Tensor) -> float:
        loss = stock_loss(stock, ids, targets, alpha=ALPHA, beta=BETA)
        loss.backward()
        clip_grad_norm_(parameters, CLIP)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return step


def our_step(model: LanguageModel) -> Step:
    parameters = list(model.train().parameters())
    optimizer = torch.optim.AdamW(
        parameters, LR, betas=(0.8, 0.99), eps=1e-5, weight_decay=0.01, fused=True
    )
    state: State | None = None

    def step(ids: Tensor, targets: Tensor) -> float:
        nonlocal state
        output = model(ids, state)
        state = detach(output.state)
        loss = output.losses(targets).mean()
        loss = loss + ALPHA * activation_reg(output.dropped) + BETA * temporal_reg(output.raw)
        loss.backward()
        clip_grad_norm_(parameters, CLIP)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return step


ARMS: dict[str, Callable[[LanguageModel], Step]] = {"stock": stock_step, "ours": our_step}


def make_model(options: argparse.Namespace) -> LanguageModel:
    arch = ArchConfig("awd_lstm", *options.sizes)
    return LanguageModel(arch, options.n_vocab, precision=options.precision)


def make_batch(options: argparse.Namespace) -> tuple[Tensor, Tensor]:
    window = torch.randint(9, options.n_vocab, (options.bs, options.seq_len + 1))
    return window[:, :-1].contiguous(), window[:, 1:].contiguous()


def seconds(step: Step, batch: tuple[Tensor, Tensor]) -> float:
    start = time.perf_counter()
    step(*batch)
    return time.perf_counter() - start


def compare(options: argparse.Namespace) -> dict[str, object]:
    """Alternate steps of both arms."""
    model = make_model(options)
    steps = {name: arm(model) for name, arm in ARMS.items()}
    warm_up = make_batch(options)
    losses = {name: round(step(*warm_up), 4) for name, step in steps.items()}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(options.rounds):
        batch = make_batch(options)
        for name, step in steps.items():
            times[name].append(seconds(step, batch))
    ratios = [a / b for a, b in zip(times["stock"], times["ours"])]
    n_tokens = options.bs * options.seq_len
    return {
        "ratio_median": round(statistics.median(ratios), 2),
        "ratio_min_max": [round(min(ratios), 2), round(max(ratios), 2)],
        "step_seconds": {n: round(statistics.median(t), 2) for n, t in times.items()},
        "tokens_per_s": {n: round(n_tokens / statistics.median(t)) for n, t in times.items()},
        "first_loss": losses,
    }


def peak_rss_mb(options: argparse.Namespace) -> float:
    """Train two steps of one arm and read this process's highest resident memory."""
    # No name for the model: the stock arm copies it and lets it go.
    step = ARMS[options.only](make_model(options))
    for _ in range(2):
        step(*make_batch(options))
    return round(peak_mb())


def measure_memory() -> dict[str, float]:
    """Run each arm in a process of its own, with the flags of this one."""
    command = [sys.executable, *sys.argv, "--only"]
    return {
        name: json.loads(subprocess.run([*command, name], check=True, capture_output=True).stdout)
        for name in ARMS
    }


def add_sizes(parser: argparse.ArgumentParser) -> None:
    sizes = {"default": (400, 1152, 3), "metavar": "N", "help": "embedding, units, layers"}
    parser.add_argument("--sizes", type=int, nargs=3, **sizes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-vocab", type=int, default=30_000)
    add_sizes(parser)
    parser.add_argument("--bs", type=int, default=64)
    parser.add_argument("--seq-len", type=int, default=72)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, help="of torch; default: its own choice")
    parser.add_argument("--precision", choices=["auto", "bf16", "fp32"], default="auto")
    parser.add_argument("--memory", action="store_true", help="add peak memory (not on Windows)")
    parser.add_argument("--only", choices=list(ARMS), help="print one arm's peak memory in MB")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    if options.only:
        print(peak_rss_mb(options))
        return
    result: dict[str, object] = {
        "n_vocab": options.n_vocab,
        "sizes": list(options.sizes),
        "threads": torch.get_num_threads(),
        "precision": options.precision,
        "native_bf16": has_fast_bf16(),
    }
    result |= compare(options)
    if options.memory:
        result["peak_rss_mb"] = measure_memory()
    result["load_average"] = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    print(json.dumps(result))


if __name__ == "__main__":
    main()
