"""How many labels it takes: accuracy over label budgets, as a sentence and as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from matplotlib.figure import Figure

from ulmfit.evaluation.plots import BLUE, INK, ORANGE, PALE, WIDTH, drawing
from ulmfit.reproduction.results import Summary

BASELINES = {"tfidf": "TF-IDF + logistic regression", "nbsvm": "NB-SVM"}
_COLORS = {"tfidf": ORANGE, "nbsvm": "#5a8a3a"}
Point = tuple[int, float]  # labels, accuracy


def labels_needed(curve: Sequence[Point], level: float) -> float | None:
    """Say with how many labels a curve comes to a level and stays there, between budgets on a logarithmic scale.

    None if it never does, or if it is there from the first budget on: then nobody knows how few would do.
    """
    points = sorted(curve)
    crossings = [
        (before, after) for before, after in pairwise(points) if before[1] < level <= after[1]
    ]
    if not crossings or points[-1][1] < level:
        return None
    (n, low), (m, high) = crossings[-1]
    return math.exp(math.log(n) + (level - low) / (high - low) * math.log(m / n))


def sentence(curve: Sequence[Point], name: str, whole: Point) -> str:
    """Say what a curve means beside a baseline that had all labels."""
    n_all, level = whole
    reached = f"what {BASELINES[name]} reaches with all {n_all:,} ({100 * level:.1f} %)"
    needed, points = labels_needed(curve, level), sorted(curve)
    if needed is not None:
        return f"About {_rounded(needed):,} labels reach {reached}."
    if points[0][1] >= level and points[-1][1] >= level:
        return f"{points[0][0]:,} labels, the fewest here, already reach {reached}."
    return f"{points[-1][0]:,} labels, the most here, do not reach {reached}."


def _rounded(n: float) -> int:
    """Keep two digits: more would pretend to know."""
    return round(round(n, 1 - math.floor(math.log10(n))))


def label_plot(summaries: Sequence[Summary], wholes: dict[str, Point]) -> Figure:
    """Draw accuracy over label budgets, with the spread over seeds, beside both baselines."""
    ordered = sorted(summaries, key=lambda s: s.n_given)
    x = [s.n_given for s in ordered]
    with drawing():
        figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
        axes = figure.subplots()
        for name, (_, level) in wholes.items():
            axes.axhline(level, color=_COLORS[name], linestyle=":", linewidth=1)
        for name, title in BASELINES.items():
            y = [b.accuracy for s in ordered for b in s.baselines if b.name == name]
            if len(y) == len(x):
                axes.plot(x, y, color=_COLORS[name], marker="s", markersize=3, label=title)
        spread = [0 if math.isnan(s.spread.sd) else s.spread.sd for s in ordered]
        means = [s.spread.mean for s in ordered]
        axes.errorbar(x, means, yerr=spread, color=BLUE, marker="o", markersize=4, capsize=2, label="ULMFiT ± sd")  # fmt: skip
        axes.set_xscale("log")
        axes.set_xticks(x, [f"{n:,}" for n in x])
        axes.minorticks_off()
        axes.grid(axis="y", color=PALE, linewidth=0.5)
        axes.set_xlabel("labelled documents (dotted: with all labels)", color=INK)
        axes.set_ylabel("accuracy")
        axes.legend(frameon=False, fontsize=9)
    return figure
