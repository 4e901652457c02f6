"""What a document costs a classifier: time against its length, against its neighbours', and memory against their number.

    python benchmarks/prediction_cost.py [--lengths 72 144 288 576 1152] [--rounds 3] [--documents 300] [--n-hid 1152]

Random weights over the vocabulary of the embedded demo corpus. Time is processor time on one thread, the smallest of
the rounds, which take turns. `by_length`: one document of random ids at a time; the straight line through the seconds
and how well it fits (`r2`), the exponent of the power law, and what a token of the longest costs, that of the
shortest being 1. `neighbours`: what a batch of short documents takes beside a document of the greatest length, less
what that one takes alone, over what they take by themselves: 1 if neighbours cost nothing. `steps`: tokens
that the encoder computed for the mixed batch, padding included, over those that there are. `peak_mb`: the highest
resident memory of a process of its own that predicts so many texts of the demo corpus, four times as many, and one text of
`--megabytes`; with --memory-hid units, as more would take long and change only a constant. One JSON line.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from peak import peak_mb

from ulmfit import Classifier, TextConfig
from ulmfit.models.arch import ArchConfig
from ulmfit.models.classifier import Classifier as Module
from ulmfit.models.classifier_arch import ClassifierArch
from ulmfit.models.classifier_artefact import save_classifier
from ulmfit.models.label_set import LabelSet
from ulmfit.models.manifest import Provenance
from ulmfit.models.parts import TextPipeline
from ulmfit.text.prepare import prepare
from ulmfit.text.sources import open_source

LABELS = LabelSet("category", ("neg", "pos"))
SHORT, N_SHORT = 100, 32  # tokens and documents of the batch with a long neighbour


def demo_texts() -> list[str]:
    source = open_source("demo", label=None)
    return list(itertools.chain.from_iterable(batch.fields[0] for batch in source.batches()))


def write_classifier(folder: Path, arch: ArchConfig) -> None:
    """Write random weights as a classifier's folder."""
    corpus = prepare(demo_texts()[:500], folder / "corpus", label=None, config=TextConfig())
    torch.manual_seed(0)
    model = Module(ClassifierArch.of(arch, len(LABELS.names)), len(corpus.vocab))
    save_classifier(
        folder / "model",
        {"forward": model.state_dict()},
        arch=model.arch,
        vocab=corpus.vocab,
        text=TextPipeline.of(corpus),
        labels=LABELS,
        provenance=Provenance("random weights"),
    )


def seconds(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Take turns, and keep the smallest processor time of each call."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.thread_time()
            call()
            found[name].append(time.thread_time() - start)
    return {name: min(times) for name, times in found.items()}


def computed_tokens(classifier: Classifier, documents: list[np.ndarray], precision: str) -> int:
    """Count what the encoder reads, padding included."""
    counted: list[int] = []
    encoder = classifier._model("forward", precision).encoder
    hook = encoder.register_forward_pre_hook(lambda _, given: counted.append(given[0].numel()))
    classifier.probabilities(documents, precision=precision)
    hook.remove()
    return sum(counted)


def times(classifier: Classifier, options: argparse.Namespace) -> dict[str, object]:
    """Measure documents one by one, and a batch with and without a long one."""
    draw = np.random.default_rng(0)

    def document(length: int) -> np.ndarray:
        return draw.integers(9, len(classifier.vocab), length)

    def ask(documents: list[np.ndarray]) -> Callable[[], object]:
        return lambda: classifier.probabilities(documents, precision=options.precision)

    longest = [document(max(options.lengths))]
    short = [document(SHORT) for _ in range(N_SHORT)]
    alone = {str(length): ask([document(length)]) for length in options.lengths}
    together = {"short": ask(short), "long": ask(longest), "mixed": ask([*short, *longest])}
    ask(longest)()
    taken = seconds(alone | together, options.rounds)
    x = np.array(options.lengths, float)
    y = np.array([taken[str(length)] for length in options.lengths])
    slope, start = np.polyfit(x, y, 1)
    residual = ((y - slope * x - start) ** 2).sum() / ((y - y.mean()) ** 2).sum()
    n_tokens = sum(map(len, [*short, *longest]))
    n_computed = computed_tokens(classifier, [*short, *longest], options.precision)
    return {
        "by_length": {
            "lengths": options.lengths,
            "ms": [round(1e3 * value, 1) for value in y],
            "ms_a_token": round(1e3 * slope, 4),
            "ms_before_the_first": round(1e3 * start, 2),
            "r2": round(1 - residual, 5),
            "exponent": round(float(np.polyfit(np.log(x), np.log(y), 1)[0]), 3),
            "token_of_longest_to_shortest": round(y[-1] / x[-1] / (y[0] / x[0]), 3),
        },
        "neighbours": round((taken["mixed"] - taken["long"]) / taken["short"], 3),
        "steps": round(n_computed / n_tokens, 3),
    }


def texts_of(n: int, megabytes: float) -> Iterator[str]:
    """Repeat the demo corpus: `n` texts, or one of so many megabytes."""
    endless = itertools.cycle(demo_texts())
    if n:
        yield from itertools.islice(endless, n)
        return
    parts: list[str] = []
    while sum(map(len, parts)) < 1e6 * megabytes:
        parts += itertools.islice(endless, 100)
    yield " ".join(parts)[: int(1e6 * megabytes)]


def peak_of(folder: Path, n: int, options: argparse.Namespace) -> float:
    """Predict in a process of its own, and return its peak."""
    command = [sys.executable, __file__, "--predict", str(folder), "--documents", str(n)]
    command += ["--megabytes", str(options.megabytes), "--precision", options.precision]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def predict(options: argparse.Namespace) -> None:
    """Be that process."""
    classifier = Classifier.load(options.predict)
    texts = texts_of(options.documents, options.megabytes)
    for _ in classifier.predict_iter(texts, precision=options.precision):
        pass
    print(peak_mb())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=[72, 144, 288, 576, 1152])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--documents", type=int, default=300, help="of the smaller memory run")
    parser.add_argument("--megabytes", type=float, default=1.0, help="of the one long text")
    parser.add_argument("--n-hid", type=int, default=1152)
    parser.add_argument("--memory-hid", type=int, default=128)
    parser.add_argument("--precision", choices=["auto", "bf16", "fp32", "int8"], default="auto")
    parser.add_argument("--predict", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.predict:
        predict(options)
        return
    result: dict[str, object] = {"benchmark": "prediction_cost", "precision": options.precision}
    with tempfile.TemporaryDirectory() as folder:
        write_classifier(Path(folder) / "timed", ArchConfig(n_hid=options.n_hid))
        result |= times(Classifier.load(Path(folder) / "timed" / "model"), options)
        small = Path(folder) / "small"
        write_classifier(small, ArchConfig(emb_sz=64, n_hid=options.memory_hid, n_layers=2))
        n = options.documents
        result["peak_mb"] = {
            name: round(peak_of(small / "model", count, options))
            for name, count in ((f"{n} texts", n), (f"{4 * n} texts", 4 * n), ("one text", 0))
        }
    result["load_average"] = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    print(json.dumps(result))


if __name__ == "__main__":
    main()
