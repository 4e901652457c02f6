"""How far off is a temperature that few documents tell, by their likelihood alone and with what is thought before?

    python benchmarks/few_to_calibrate.py EVALUATED... [--documents 5 10 20 50] [--draws 20]

EVALUATED are folders of one-label answers that `ulmfit evaluate` or `ulmfit reproduce` left (predictions.csv and
evaluation.json). So many of the answered documents are drawn, seeds 0, 1, ..., a temperature is found on them, and measured
on the others: log-loss above that of the temperature that is best for those others, and ECE. `alone` is the likelihood alone,
within 0.05 to 20; `raw` is 1. One JSON line a number of documents, means over folders and draws; `worst` is the largest log-loss.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar

from ulmfit.evaluation.answers import Answers
from ulmfit.evaluation.metrics import ece
from ulmfit.training.temperature import best_temperature, softmax

_EXTRA = ("row", "text", "label", "predicted", "confidence")


def main() -> None:
    """Find temperatures on few documents, and measure them on the others."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("evaluated", nargs="+", type=Path)
    parser.add_argument("--documents", type=int, nargs="+", default=[5, 10, 20, 50])
    parser.add_argument("--draws", type=int, default=20)
    told = parser.parse_args()
    answers = [_answers(folder) for folder in told.evaluated]
    for n in told.documents:
        found = [_measured(*each, n, seed) for each in answers for seed in range(told.draws)]
        figures = {
            arm: {
                "log_loss": round(float(np.mean([f[arm][0] for f in found])), 3),
                "worst": round(float(np.max([f[arm][0] for f in found])), 2),
                "ece": round(float(np.mean([f[arm][1] for f in found])), 3),
            }
            for arm in ("raw", "alone", "prior")
        }
        print(json.dumps({"documents": n, "folders": len(answers), "draws": told.draws, **figures}))


def _answers(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read logits, up to a constant a document, and the right answers."""
    frame = pd.read_csv(folder / "predictions.csv", keep_default_na=False)
    names = [name for name in frame.columns if name not in _EXTRA]
    content = json.loads((folder / "evaluation.json").read_text())
    logits = np.log(frame[names].to_numpy(float).clip(1e-30))
    return logits * content["calibration"]["temperature"], frame["label"].map(
        names.index
    ).to_numpy()


def _measured(
    logits: np.ndarray, labels: np.ndarray, n: int, seed: int
) -> dict[str, tuple[float, float]]:
    """Give log-loss above the best, and ECE, of the documents that were not drawn."""
    order = np.random.default_rng(seed).permutation(len(labels))
    few, others = order[:n], order[n:]
    temperatures = {
        "raw": 1.0,
        "alone": _likeliest(logits[few], labels[few]),
        "prior": best_temperature(logits[few], labels[few]),
    }
    best = _loss(logits[others], labels[others], _likeliest(logits[others], labels[others]))
    measured = {}
    for arm, temperature in temperatures.items():
        scores = softmax(logits[others], temperature=temperature)
        answers = Answers(labels[others], scores, tuple(map(str, range(scores.shape[1]))))
        above = _loss(logits[others], labels[others], temperature) - best
        measured[arm] = (above, float(ece(answers, np.ones(len(answers)))))
    return measured


def _likeliest(logits: np.ndarray, labels: np.ndarray) -> float:
    bounds = (1 / 20, 1 / 0.05)
    found = minimize_scalar(
        lambda inverse: _loss(logits, labels, 1 / inverse), bounds=bounds, method="bounded"
    )
    return 1 / float(found.x)


def _loss(logits: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    scaled = logits / temperature
    return float(
        (np.logaddexp.reduce(scaled, axis=1) - scaled[np.arange(len(labels)), labels]).mean()
    )


if __name__ == "__main__":
    main()
