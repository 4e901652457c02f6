"""Whether confidence is worth its name: the reliability curve (Guo et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ulmfit.evaluation.answers import Answers
from ulmfit.evaluation.intervals import Interval, wilson
from ulmfit.evaluation.metrics import N_BINS, bin_numbers


@dataclass(frozen=True)
class Bin:
    """Documents of about the same confidence."""

    n_documents: int
    confidence: float
    """Their mean confidence."""
    accuracy: Interval


def reliability(answers: Answers, *, n_bins: int = N_BINS) -> tuple[Bin, ...]:
    """Give the reliability curve, the accuracy at each confidence; empty bins are left out."""
    confidence = answers.scores.max(axis=1)
    bins = bin_numbers(confidence, n_bins)
    members = [bins == number for number in np.unique(bins)]
    return tuple(
        Bin(
            int(mine.sum()),
            float(confidence[mine].mean()),
            wilson(int(answers.is_right[mine].sum()), int(mine.sum())),
        )
        for mine in members
    )
