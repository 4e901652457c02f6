"""Published figures of ULMFiT, which ours are set beside. To add one, add a line to PUBLISHED.

All are of models that learnt from the whole training set. None is of a clean test: the paper let the
language model read the test texts, and the notebooks chose their models by the test documents.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One published figure of a test set."""

    data_set: str
    """Its name in ulmfit.text.datasets.DATASETS."""
    direction: str
    """forward, backward, or both."""
    metric: str
    """Its name in METRICS."""
    value: float
    """As a share: an error of 4.6 % is 0.046."""
    source: str
    protocol: str = "transductive"

    @property
    def name(self) -> str:
        """What a report calls it."""
        words = {"both": "both directions"}.get(self.direction, self.direction)
        return f"ULMFiT, {words}, {self.metric}"


_PAPER = "Howard & Ruder 2018"
_V1 = "fastai 1, examples/ULMFit.ipynb"

PUBLISHED = (
    Published("imdb", "both", "error", 0.0458, f"{_PAPER}, 5 (4.6 in table 2)"),
    Published("imdb", "forward", "error", 0.0530, f"{_PAPER}, 5"),
    Published("imdb", "forward", "accuracy", 0.943, "fastbook, chapter 10", "as_published"),
    Published("imdb", "forward", "accuracy", 0.9496, _V1, "as_published"),
    Published("imdb", "backward", "accuracy", 0.9474, _V1, "as_published"),
    Published("imdb", "both", "accuracy", 0.9539, _V1, "as_published"),
    Published("trec", "both", "error", 0.036, f"{_PAPER}, table 2"),
    Published("ag_news", "both", "error", 0.0501, f"{_PAPER}, table 3"),
    Published("dbpedia", "both", "error", 0.0080, f"{_PAPER}, table 3"),
    Published("yelp_polarity", "both", "error", 0.0216, f"{_PAPER}, table 3"),
    Published("yelp_full", "both", "error", 0.2998, f"{_PAPER}, table 3"),
)  # fmt: skip


def published(data_set: str) -> tuple[Published, ...]:
    """Return the published figures of a data set, if any."""
    return tuple(row for row in PUBLISHED if row.data_set == data_set)
