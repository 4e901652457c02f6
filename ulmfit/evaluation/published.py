"""Published figures of finished ULMFiT classifiers, which a report sets ours beside. To add one, add a row to targets.csv.

All are of models that learnt from the whole training set. None is of a clean test: the paper let the
language model read the test texts, and the notebooks chose their models by the test documents.
"""

from __future__ import annotations

from dataclasses import dataclass

from ulmfit.evaluation.targets import Target, finished
from ulmfit.text.datasets import DATASETS


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
    protocol: str

    @classmethod
    def of(cls, target: Target) -> Published:
        """Say it in the metric of its source, as a share."""
        assert target.error is not None
        is_error = target.metric.startswith("error")
        metric, value = ("error", target.error) if is_error else ("accuracy", float(target.value))
        return cls(target.dataset, target.direction, metric, value, target.source, target.protocol)

    @property
    def name(self) -> str:
        """What a report calls it."""
        words = {"both": "both directions"}.get(self.direction, self.direction)
        return f"ULMFiT, {words}, {self.metric}"


def published(data_set: str) -> tuple[Published, ...]:
    """Return the published figures of a registered data set, if any."""
    known = data_set in DATASETS
    return tuple(map(Published.of, finished(data_set))) if known else ()
