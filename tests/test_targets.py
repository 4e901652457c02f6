"""The table of published figures: some typed again from the papers, each with its source, and what is made of them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from ulmfit.evaluation.metrics import METRICS
from ulmfit.evaluation.published import published
from ulmfit.evaluation.targets import ablation, finished, targets
from ulmfit.reproduction.tables import TABLES
from ulmfit.text.datasets import DATASETS

METRIC_NAMES = {
    "error_percent", "accuracy_percent", "accuracy", "f1", "valid_loss", "token_accuracy", "perplexity",
}  # fmt: skip


def value(table: str, row: str, dataset: str) -> str:
    (found,) = (t for t in targets() if (t.table, t.row, t.dataset) == (table, row, dataset))
    return found.value


@pytest.mark.parametrize(
    ("table", "row", "dataset", "printed"),
    [
        ("2", "CoVe", "imdb", "8.2"),
        ("2", "ULMFiT", "trec", "3.6"),
        ("3", "char-CNN", "yelp_full", "37.95"),
        ("3", "DPCNN", "ag_news", "6.87"),
        ("3", "ULMFiT", "yelp_polarity", "2.16"),
        ("4", "without pretraining", "trec", "10.67"),
        ("5", "vanilla LM", "imdb", "5.98"),
        ("6", "no LM fine-tuning", "ag_news", "6.09"),
        ("6", "full + discr", "trec", "6.36"),
        ("7", "from scratch", "imdb", "9.93"),
        ("7", "last", "trec", "16.09"),
        ("7", "full + discr", "imdb", "5.57"),
        ("7", "chain-thaw", "ag_news", "5.90"),
        ("7", "freez + stlr", "imdb", "5.04"),
        ("7", "freez + cos", "ag_news", "5.29"),
    ],
)
def test_figures_of_the_paper(table: str, row: str, dataset: str, printed: str) -> None:
    assert value(table, row, dataset) == printed


def test_figures_of_the_libraries() -> None:
    found = {(t.source.split(",")[0], t.row, t.direction, t.metric): t.value for t in targets()}
    assert found["fastai 1", "ULMFiT", "both", "accuracy"] == "0.9539"
    assert found["fastai 1", "language model, 10 epochs", "backward", "valid_loss"] == "3.615"
    assert (
        found["fastai 0.7", "classifier, all groups, 14 epochs", "forward", "accuracy"] == "0.9479"
    )
    (perplexity,) = (
        t for t in targets() if t.row == "language model, 10 epochs" and t.metric == "perplexity"
    )
    assert perplexity.value == "35.4"


def test_the_last_row_of_every_ablation_is_the_whole_method() -> None:
    """The paper prints the same three figures four times."""
    for table in TABLES:
        for dataset, printed in {"imdb": "5.00", "trec": "5.69", "ag_news": "5.38"}.items():
            assert list(ablation(table, dataset).values())[-1].value == printed


def test_the_rows_that_are_trained_are_those_of_the_paper() -> None:
    assert tuple(TABLES) == (4, 5, 6, 7)
    for table, rows in TABLES.items():
        assert [row.name for row in rows] == list(ablation(table, "imdb"))
        assert len({row.folder for row in rows}) == len(rows)
    assert ablation(7, "dbpedia") == {}


def test_every_row_has_a_source_and_a_figure_that_can_be() -> None:
    rows = targets()
    assert len(set(rows)) == len(rows) > 150
    for t in rows:
        assert t.source and t.row and t.dataset and t.metric in METRIC_NAMES, t
        assert t.split in ("test", "valid") and t.direction in ("", "forward", "backward", "both")
        assert not t.table or t.source == f"Howard & Ruder 2018, table {t.table}", t
        number = Decimal(t.value)
        if t.metric.endswith("percent"):
            assert 0 < number < 100
        elif t.metric in ("accuracy", "f1", "token_accuracy"):
            assert 0 < number < 1
        assert t.error is None or 0 < t.error < 0.5


def test_shares_are_exact() -> None:
    errors = {(t.source, t.direction): t.error for t in finished("imdb")}
    assert errors["Howard & Ruder 2018, 5", "forward"] == 0.053
    assert errors["fastai 1, examples/ULMFit.ipynb", "both"] == 0.0461


def test_a_report_compares_with_what_the_table_holds() -> None:
    rows = [row for name in DATASETS for row in published(name)]
    assert rows and {row.metric for row in rows} <= set(METRICS["category"])
    assert all(0 < row.value < 1 and row.source and row.protocol for row in rows)
