"""The results that are committed: the README says what they say, and the models are those that were measured."""

from __future__ import annotations

import itertools
import json
import random
import re
from pathlib import Path

import pandas as pd
import pytest

import ulmfit
from ulmfit.evaluation.intervals import wilson

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results"
IMDB = RESULTS / "imdb-laptop"
NAMES = {"NB-SVM": "nbsvm", "TF-IDF + logistic regression": "tfidf"}
OURS = {
    "IMDb, ours": ("imdb-50-labels", "imdb-few-labels", "imdb-1000-labels", "imdb-5000-labels", "imdb-25000-labels"),
    "ours, which has read the labelled texts alone": ("imdb-labelled-only", "imdb-50-labelled-only", "imdb-200-labelled-only", "imdb-5000-labelled-only", "imdb-25000-labelled-only"),
    "TREC-6, ours": ("trec-labels-reread",),
}  # fmt: skip
pytestmark = pytest.mark.skipif(not RESULTS.is_dir(), reason="a source archive has no results")


@pytest.mark.parametrize("folder", sorted(RESULTS.glob("*/")), ids=lambda folder: folder.name)
def test_every_experiment_is_listed_and_says_nothing_of_its_place(folder: Path) -> None:
    assert f"]({folder.name})" in (RESULTS / "README.md").read_text()
    for path in folder.rglob("*"):
        if path.suffix in (".json", ".md", ".csv"):
            assert not re.search(r"/(home|root|work|Users|tmp)/", path.read_text()), path


def accuracy() -> dict[str, float]:
    (run,) = json.loads((IMDB / "results.json").read_text())["runs"]
    return run["accuracy"]


def with_linear() -> dict[str, float]:
    """Accuracies of the classifier that lies here, as benchmarks/linear_part.py told them."""
    return json.loads((IMDB / "linear_part.json").read_text())


def test_the_readme_says_what_came_out() -> None:
    value, low, high = (100 * accuracy()[name] for name in ("value", "low", "high"))
    readme = (ROOT / "README.md").read_text()
    assert f"{value:.2f} [{low:.2f}, {high:.2f}]" in readme
    for name in "linear", "with_2":
        share = with_linear()[name]
        found = wilson(round(share * 25_000), 25_000)
        low, high = 100 * found.low, 100 * found.high
        assert f"{100 * share:.2f} [{low:.2f}, {high:.2f}]" in readme


def test_the_readme_says_what_few_labels_came_to() -> None:
    """Each cell of its table is a mean over the seeds of a summary in `results`."""
    lines = (ROOT / "README.md").read_text().splitlines()
    first = next(place for place, line in enumerate(lines) if line.startswith("| labels | 50 |"))
    header, _, *rows = itertools.takewhile(lambda line: line.startswith("|"), lines[first:])
    budgets = [int(re.sub(r"\D", "", cell)) for cell in cells(header)[1:]]
    n_checked, group = 0, ""
    for name, *figures in map(cells, rows):
        group = name if name.endswith(", ours") else group  # baselines had their labels
        found = errors_in(OURS[name if name in OURS else group], NAMES.get(name, "ulmfit"))
        told = {n: float(figure) for n, figure in zip(budgets, figures) if figure}
        assert told == {n: pytest.approx(found[n], abs=0.0501) for n in told}, name
        n_checked += len(told)
    assert n_checked > 40


def cells(line: str) -> list[str]:
    """Split a row of a table."""
    return [cell.strip().strip("*") for cell in line.strip("|").split("|")]


def errors_in(folders: tuple[str, ...], name: str) -> dict[int, float]:
    """Give the errors in percent over the labels given; baselines as those who answered beside them."""
    found: dict[int, float] = {}
    for folder in folders:
        for summary in json.loads((RESULTS / folder / "results.json").read_text())["summaries"]:
            accuracies = {each["name"]: each["accuracy"] for each in summary["baselines"]}
            accuracies["ulmfit"] = summary["spread"]["mean"]
            found[summary["n_given"]] = 100 * (1 - accuracies[name])
    return found


def test_the_classifier_is_there_and_answers() -> None:
    clf = ulmfit.Classifier.load(IMDB / "3_train_classifier")
    assert clf.directions == ("forward", "backward")
    texts = ["One of the worst films I have ever seen.", "A wonderful, moving masterpiece."]
    assert clf.predict(texts).tolist() == ["neg", "pos"]


@pytest.mark.parametrize(
    ("name", "text", "label"),
    [
        ("trec-laptop/seed0", "Who wrote the novel?", "HUM"),
        (
            "ag_news-laptop",
            "Stocks fell on Wall Street as oil prices rose to a record.",
            "Business",
        ),
    ],
)
def test_smaller_ones_answer(name: str, text: str, label: str) -> None:
    clf = ulmfit.Classifier.load(RESULTS / name / "3_train_classifier")
    assert clf.predict([text]).tolist() == [label]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_classifier_has_the_accuracy_that_is_told(real_data: Path) -> None:
    """On 1,000 of the 25,000 test reviews: within three standard errors."""
    table = pd.read_csv(real_data / "imdb" / "imdb_labeled.csv.xz")
    test = table[table.split == "test"].iloc[random.Random(0).sample(range(25_000), 1_000)]
    found = ulmfit.Classifier.load(IMDB / "3_train_classifier").predict(list(test.text))
    share = (found == test.label.to_numpy()).mean()
    told = with_linear()["with_2"]
    assert abs(share - told) < 3 * (told * (1 - told) / 1_000) ** 0.5
