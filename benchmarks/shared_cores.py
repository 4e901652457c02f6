"""Training on cores that others use too: what it costs that torch's threads spin while they wait for each other.

    python benchmarks/shared_cores.py [--spins 1000 10000] [--sizes 256 512 3] [--n-vocab 12000] [--bs 64] [--seq-len 35] [--steps 4] [--rounds 3]

A worker is a process that takes training steps of a language model with all cores, one before the clock and the
median of `--steps` after it. `alone`: one worker; `beside_a_loop`: one, and a process that counts; `beside_another`: two
workers at once, their rates added. Each has OpenMP's own way of waiting, `GOMP_SPINCOUNT` set to each of `--spins`, and one
thread; they take turns, in processes of their own, since OpenMP reads the setting once. Ratios are to OpenMP's own way in the same
round, above 1 where the other is faster. On Linux: elsewhere OpenMP is another. One JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from contextlib import ExitStack

from lm_step import add_sizes, make_batch, make_model, our_step, seconds

COMPANY = {"alone": (1, 0), "beside_a_loop": (1, 1), "beside_another": (2, 0)}
"""Workers, and processes that count."""


def rate(options: argparse.Namespace) -> float:
    """Take steps; tokens a second."""
    step = our_step(make_model(options))
    step(*make_batch(options))
    times = [seconds(step, make_batch(options)) for _ in range(options.steps)]
    return options.bs * options.seq_len / statistics.median(times)


def together(waiting: dict[str, str], company: str) -> float:
    """Start the workers, and what keeps them company; the sum of their rates."""
    n_workers, n_loops = COMPANY[company]
    with ExitStack() as stack:
        for _ in range(n_loops):
            loop = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            stack.callback(loop.wait)
            stack.callback(loop.kill)
        workers = [
            subprocess.Popen(
                [sys.executable, *sys.argv, "--worker"],
                env=os.environ | waiting,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(n_workers)
        ]
        return sum(float(worker.communicate()[0]) for worker in workers)


def compare(company: str, options: argparse.Namespace) -> dict[str, object]:
    """Let all ways of waiting take turns."""
    ways = {"openmp": {}, "one_thread": {"OMP_NUM_THREADS": "1"}}
    ways |= {f"spin_{n}": {"GOMP_SPINCOUNT": str(n)} for n in options.spins}
    rates: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(options.rounds):
        for way, waiting in ways.items():
            rates[way].append(together(waiting, company))
    found: dict[str, object] = {}
    for way in ways:
        ratios = [ours / theirs for ours, theirs in zip(rates[way], rates["openmp"])]
        found[way] = {
            "tokens_per_s": round(statistics.median(rates[way])),
            "ratio_median": round(statistics.median(ratios), 2),
            "ratio_min_max": [round(min(ratios), 2), round(max(ratios), 2)],
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_sizes(parser)
    parser.set_defaults(sizes=(256, 512, 3))
    parser.add_argument("--n-vocab", type=int, default=12_000)
    parser.add_argument("--bs", type=int, default=64)
    parser.add_argument("--seq-len", type=int, default=35)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", choices=["auto", "bf16", "fp32"], default="auto")
    parser.add_argument("--spins", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--worker", action="store_true", help="take steps alone, print the rate")
    options = parser.parse_args()
    if options.worker:
        print(rate(options))
        return
    result: dict[str, object] = {"cores": os.cpu_count()}
    result |= {company: compare(company, options) for company in COMPANY}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
