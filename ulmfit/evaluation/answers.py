"""What a model said beside what is true: one value that every figure of this room is computed from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ulmfit.errors import UserError
from ulmfit.inference.answers import THRESHOLD
from ulmfit.models.label_set import KINDS


@dataclass(frozen=True, eq=False)
class Answers:
    """The true labels of n documents beside what was predicted for them."""

    labels: np.ndarray
    """category: (n,) codes; multi: (n, n_labels) zeros and ones; number: (n,) floats."""
    scores: np.ndarray
    """category and multi: (n, n_labels) probabilities; number: (n,) predictions."""
    names: tuple[str, ...] = ()
    """The labels' names in the order of their codes; none for numbers."""
    kind: str = "category"
    """category, multi or number."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UserError(f"label kind {self.kind!r}: allowed are {', '.join(KINDS)}")
        if not len(self.labels) or len(self.labels) != len(self.scores):
            raise UserError(f"{len(self.labels)} labels for {len(self.scores)} predictions")
        columns = () if self.kind == "number" else (len(self.names),)
        if self.scores.shape[1:] != columns:
            raise UserError(f"scores of shape {self.scores.shape} for {len(self.names)} labels")
        if unlabelled := int((~self._has_label).sum()):
            raise UserError(
                f"{unlabelled:,} of {len(self.labels):,} documents have no known label: leave them out of the evaluation"
            )
        if not np.isfinite(self.scores).all():
            raise UserError("some predictions are not finite numbers: the model is broken")

    @property
    def _has_label(self) -> np.ndarray:
        if self.kind == "number":
            return np.isfinite(self.labels)
        known = (self.labels >= 0) & (
            self.labels < (len(self.names) if self.labels.ndim == 1 else 2)
        )
        return np.all(known.reshape(len(known), -1), axis=1)

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def predicted(self) -> np.ndarray:
        """The answers themselves, in the form of `labels`."""
        if self.kind == "category":
            return self.scores.argmax(axis=1)
        return self.scores >= THRESHOLD if self.kind == "multi" else self.scores

    @cached_property
    def is_right(self) -> np.ndarray:
        """Whether each document was answered wholly right."""
        same = self.labels == self.predicted
        return same.all(axis=1) if same.ndim == 2 else same
