"""One training step of the classifier: fastai's own against ours.

    python benchmarks/classifier_step.py [--sizes 400 1152 3] [--bs 32] [--length 288] [--spread 0] [--max-len 1440] [--rounds 3] [--threads 2]

Both arms hold the same AWD-LSTM (the paper's sizes unless told) with concat pooling and a head of 50 units, from
the same weights, all dropouts on, every layer training, and read the same documents of random ids, of
`--length` tokens each; `--spread 0.6` draws lengths around it as film reviews have them (log-normal), and of long
ones the last `--max-len` tokens are pooled. A
step is: forward, cross entropy, activation and temporal regularisation (2, 1), backward, gradient
clipping, Adam. Stock is fastai's model and Adam, padded as its `Pad_Chunk` pads, longest first; ours is
the package's model with torch's fused AdamW, padded at the end. Steps alternate A B A B ... in one
process after one warm-up each; every ratio is that of two neighbours. The losses are those of the warm-up
step: same weights, different dropout masks. One JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from fastai.optimizer import Adam
from fastai.text.data import pad_chunk
from lm_step import add_sizes
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_
from torch.nn.utils.rnn import pad_sequence

from ulmfit.models.classifier import Classifier
from ulmfit.models.classifier_arch import ClassifierArch
from ulmfit.models.precision import has_fast_bf16
from ulmfit.models.regularisation import activation_reg, temporal_reg
from ulmfit.text.rules import CONTROL_TOKENS
from ulmfit.text.vocab import PAD_ID

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from stock_classifier import stock_classifier
from stock_lm import stock_loss

ALPHA, BETA, CLIP, LR, N_LABELS = 2.0, 1.0, 25.0, 1e-3, 2


@dataclass(frozen=True)
class Batch:
    """Documents, longest first, and their labels."""

    documents: list[Tensor]
    labels: Tensor


Step = Callable[[Batch], float]


def stock_step(model: Classifier) -> Step:
    stock = stock_classifier(model).train()
    parameters = list(stock.parameters())
    optimizer = Adam(parameters, LR, mom=0.8, wd=0.01)
    seq_len = model.arch.pooling.bptt

    def step(batch: Batch) -> float:
        longest = len(batch.documents[0])
        padded = [
            pad_chunk(ids, pad_idx=PAD_ID, seq_len=seq_len, pad_len=longest)
            for ids in batch.documents
        ]
        loss = stock_loss(stock, torch.stack(padded), batch.labels, alpha=ALPHA, beta=BETA)
        loss.backward()
        clip_grad_norm_(parameters, CLIP)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return step


def our_step(model: Classifier) -> Step:
    parameters = list(model.train().parameters())
    optimizer = torch.optim.AdamW(
        parameters, LR, betas=(0.8, 0.99), eps=1e-5, weight_decay=0.01, fused=True
    )

    def step(batch: Batch) -> float:
        ids = pad_sequence(batch.documents, batch_first=True, padding_value=PAD_ID)
        output = model(ids, torch.tensor([len(document) for document in batch.documents]))
        loss = F.cross_entropy(output.logits, batch.labels)
        loss = loss + ALPHA * activation_reg(output.dropped, lengths=output.lengths)
        loss = loss + BETA * temporal_reg(output.raw, lengths=output.lengths)
        loss.backward()
        clip_grad_norm_(parameters, CLIP)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return step


ARMS: dict[str, Callable[[Classifier], Step]] = {"stock": stock_step, "ours": our_step}


def make_batch(options: argparse.Namespace) -> Batch:
    spread = torch.exp(options.spread * torch.randn(options.bs))
    lengths = (options.length * spread).long().clamp(min=1).sort(descending=True).values
    first = len(CONTROL_TOKENS)
    documents = [torch.randint(first, options.n_vocab, (n,)) for n in lengths.tolist()]
    return Batch(documents, torch.randint(N_LABELS, (options.bs,)))


def seconds(step: Step, batch: Batch) -> float:
    start = time.perf_counter()
    step(batch)
    return time.perf_counter() - start


def compare(options: argparse.Namespace) -> dict[str, object]:
    """Alternate steps of both arms."""
    arch = ClassifierArch(N_LABELS)
    emb_sz, n_hid, n_layers = options.sizes
    arch = replace(
        arch,
        encoder=replace(arch.encoder, emb_sz=emb_sz, n_hid=n_hid, n_layers=n_layers),
        pooling=replace(arch.pooling, max_len=options.max_len),
    )
    model = Classifier(arch, options.n_vocab, precision=options.precision)
    steps = {name: arm(model) for name, arm in ARMS.items()}
    warm_up = make_batch(options)
    losses = {name: round(step(warm_up), 4) for name, step in steps.items()}
    times: dict[str, list[float]] = {name: [] for name in steps}
    n_tokens = 0
    for _ in range(options.rounds):
        batch = make_batch(options)
        n_tokens += sum(map(len, batch.documents))
        for name, step in steps.items():
            times[name].append(seconds(step, batch))
    ratios = [a / b for a, b in zip(times["stock"], times["ours"])]
    return {
        "ratio_median": round(statistics.median(ratios), 2),
        "ratio_min_max": [round(min(ratios), 2), round(max(ratios), 2)],
        "step_seconds": {n: round(statistics.median(t), 2) for n, t in times.items()},
        "tokens_per_s": {n: round(n_tokens / sum(t)) for n, t in times.items()},
        "first_loss": losses,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-vocab", type=int, default=30_000)
    add_sizes(parser)
    parser.add_argument("--bs", type=int, default=32)
    parser.add_argument("--length", type=int, default=288, help="tokens of a document")
    parser.add_argument("--spread", type=float, default=0.0, help="of log lengths; reviews: 0.6")
    parser.add_argument("--max-len", type=int, default=1440, help="tokens that are pooled")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, help="of torch; default: its own choice")
    parser.add_argument("--precision", choices=["auto", "bf16", "fp32"], default="auto")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    result: dict[str, object] = {
        "benchmark": "classifier_step",
        "n_vocab": options.n_vocab,
        "sizes": list(options.sizes),
        "bs": options.bs,
        "length": options.length,
        "spread": options.spread,
        "max_len": options.max_len,
        "threads": torch.get_num_threads(),
        "precision": options.precision,
        "native_bf16": has_fast_bf16(),
    }
    result |= compare(options)
    result["load_average"] = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    print(json.dumps(result))


if __name__ == "__main__":
    main()
