"""One picture of label budgets that were run apart.

    python benchmarks/label_curve.py FOLDER... [--alone FOLDER...] --out labels.png

Each FOLDER is one that `ulmfit reproduce --labels` left, of the same data set; where two have a budget, the later one counts.
`--alone` draws those as a second line: the same data set, read without unlabelled texts. One JSON line: errors in percent
over budgets, means over the seeds.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ulmfit.evaluation.plots import INK, drawing
from ulmfit.reproduction.labels_needed import BASELINES, label_plot
from ulmfit.reproduction.sheet import JSON


def summaries(folders: list[Path]) -> dict[int, Any]:
    """Collect the summaries of several experiments by the number of labels."""
    found = {}
    for folder in folders:
        results = json.loads(
            (folder / JSON).read_text(), object_hook=lambda values: SimpleNamespace(**values)
        )
        found |= {summary.n_given: summary for summary in results.summaries}
    return dict(sorted(found.items()))


def errors(found: dict[int, Any]) -> dict[str, dict[int, float]]:
    """Give the errors of our classifier and of the baselines."""
    rows = {"ulmfit": {n: summary.spread.mean for n, summary in found.items()}}
    for name in BASELINES:
        rows[name] = {
            n: beside.accuracy
            for n, summary in found.items()
            for beside in summary.baselines
            if beside.name == name
        }
    return {
        name: {n: round(100 * (1 - value), 2) for n, value in row.items()}
        for name, row in rows.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--alone", type=Path, nargs="+", default=[])
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    together, alone = summaries(options.folders), summaries(options.alone)
    wholes = json.loads((options.folders[0] / JSON).read_text())["wholes"]
    with drawing():
        figure = label_plot(list(together.values()), wholes)
        (axes,) = figure.axes
        if alone:
            means = [summary.spread.mean for summary in alone.values()]
            axes.plot(list(alone), means, color=INK, linestyle="--", marker="o", markersize=3, label="ULMFiT, labelled texts alone")  # fmt: skip
            axes.legend(frameon=False, fontsize=9)
        figure.savefig(options.out, format="png", dpi=150)
    print(json.dumps({"together": errors(together), "alone": errors(alone)}))


if __name__ == "__main__":
    main()
