"""Which language model is worth pretraining? One candidate, from Wikipedia to IMDb answers.

    python benchmarks/pretraining_choice.py CANDIDATE --data-dir DIR --out FOLDER
        [--words 3000000] [--batches 800] [--labels 500] [--seeds 0 1] [--epochs 2] [--heldout 2000] [--threads 1]

DIR holds `wikipedia-en` (JSON Lines) and `imdb`. All candidates read the same beginning of the
Wikipedia files, the same reviews and the same labels, with the settings of preset `laptop` but for
their tokens and sizes. Stage 1 reads the articles once; stage 2 reads so many batches of the training
reviews; stage 3 learns from so many labels, once for each seed, and once from all of them, in so many
epochs of 200 batches, without a teacher and without a linear part, so that the encoder alone answers. It is asked about
reviews of the official training set whose labels and texts no stage has seen. Nothing of IMDb's test
set is read. One JSON line: accuracies, perplexities, bits per character, and CPU seconds of each stage.
"""

from __future__ import annotations

import argparse
import csv
import json
import lzma
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import ulmfit
from ulmfit.config import TextConfig
from ulmfit.models.arch import ArchConfig
from ulmfit.text.corpus import SUBWORD_MODEL
from ulmfit.training.presets import CLASSIFIER_PRESETS, FINETUNE_PRESETS, PRETRAIN_PRESETS

SUBWORDS = TextConfig(tokenizer="subword", max_vocab=12_000)
WORDS = TextConfig(max_vocab=20_000)


@dataclass(frozen=True)
class Candidate:
    """A vocabulary and a size."""

    text: TextConfig
    arch: ArchConfig


CANDIDATES = {
    "subword-lstm-512": Candidate(SUBWORDS, ArchConfig(emb_sz=256, n_hid=512, drop_mult=0.1)),
    "subword-lstm-512-dropout": Candidate(
        SUBWORDS, ArchConfig(emb_sz=256, n_hid=512, drop_mult=0.5)
    ),
    "subword-lstm-768": Candidate(SUBWORDS, ArchConfig(emb_sz=256, n_hid=768, drop_mult=0.1)),
    "subword-qrnn-768": Candidate(
        SUBWORDS, ArchConfig("qrnn", emb_sz=256, n_hid=768, n_layers=4, drop_mult=0.1)
    ),
    "word-lstm-512": Candidate(WORDS, ArchConfig(emb_sz=256, n_hid=512, drop_mult=0.1)),
}


def articles(folder: Path, n_words: int) -> list[str]:
    """Read articles of the featured and good ones until they hold so many words."""
    found: list[str] = []
    for path in sorted(folder.glob("enwiki_good-*.jsonl.xz")):
        with lzma.open(path, "rt", encoding="utf8", newline="") as file:
            for line in file:
                found.append(json.loads(line)["text"])
                n_words -= len(found[-1].split())
                if n_words <= 0:
                    return found
    return found


def reviews(path: Path, split: str) -> Iterator[tuple[str, str]]:
    """Yield text and label of one split of an IMDb file."""
    csv.field_size_limit(sys.maxsize)
    with lzma.open(path, "rt", encoding="utf8", newline="") as file:
        for row in csv.DictReader(file):
            if row["split"] == split:
                yield row["text"], row["label"]


def imdb_frame(folder: Path, n_heldout: int) -> pd.DataFrame:
    """Draw the held-out reviews, the same for all candidates; the others are to be learnt from."""
    rows = list(reviews(folder / "imdb_labeled.csv.xz", "train"))
    frame = pd.DataFrame(rows, columns=["text", "label"])
    heldout = np.random.default_rng(0).permutation(len(frame))[:n_heldout]
    frame["split"] = "train"
    frame.loc[heldout, "split"] = "test"
    return frame


def run(candidate: Candidate, options: argparse.Namespace) -> dict[str, object]:
    data, out = Path(options.data_dir), Path(options.out)
    seconds: dict[str, float] = {}
    clock = time.process_time()

    def lap(name: str) -> None:
        nonlocal clock
        seconds[name], clock = round(time.process_time() - clock), time.process_time()
        print(name, seconds[name], file=sys.stderr, flush=True)

    texts = articles(data / "wikipedia-en", options.words)
    wiki = ulmfit.prepare(
        {"train": texts[20:], "valid": texts[:20]}, out / "wiki", config=candidate.text
    )
    lap("prepare")
    config = replace(PRETRAIN_PRESETS["laptop"], epochs=1, arch=candidate.arch)
    lm = ulmfit.pretrain_lm(wiki, out / "lm", config=config)
    lap("pretrain")
    frame = imdb_frame(data / "imdb", options.heldout)
    model = wiki.folder / SUBWORD_MODEL
    text = replace(candidate.text, sp_model=str(model) if model.exists() else None)
    imdb = ulmfit.prepare(frame, out / "imdb", split="split", config=text)
    config = replace(FINETUNE_PRESETS["laptop"], epochs=1, max_batches=options.batches)
    tuned = ulmfit.finetune_lm(lm, imdb, out / "tuned", config=config)
    lap("finetune")
    heldout = frame[frame.split == "test"]
    alone = replace(CLASSIFIER_PRESETS["laptop"], few_labels=None, linear=None)
    lessons = {f"{options.labels}-{seed}": (options.labels, seed) for seed in options.seeds}
    settings = {
        **{name: replace(alone, n_labels=n, seed=seed) for name, (n, seed) in lessons.items()},
        "all": replace(alone, epochs=options.epochs),
    }
    accuracies = {}
    for name, config in settings.items():
        classifier = ulmfit.train_classifier(tuned, imdb, out / f"classifier-{name}", config=config)
        answers = classifier.predict(heldout.text.tolist())
        accuracies[name] = round(float((answers == heldout.label.to_numpy()).mean()), 4)
        print(name, accuracies[name], file=sys.stderr, flush=True)
        lap(f"classify {name}")
    return {
        "accuracy": accuracies,
        "wiki_tokens": len(wiki.ids),
        "imdb_tokens": len(imdb.ids),
        "pretrained": lm.manifest.provenance.metrics,
        "finetuned": tuned.manifest.provenance.metrics,
        "cpu_seconds": seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("candidate", choices=CANDIDATES)
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--words", type=int, default=3_000_000)
    parser.add_argument("--batches", type=int, default=800)
    parser.add_argument("--labels", type=int, default=500)
    parser.add_argument("--heldout", type=int, default=2_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(
        json.dumps(
            {
                "candidate": options.candidate,
                **run(CANDIDATES[options.candidate], options),
                **vars(options),
            }
        )
    )


if __name__ == "__main__":
    main()
