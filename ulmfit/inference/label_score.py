"""The number that an explanation explains: how strongly an answer speaks for one label.

For a label it is the log-odds of its probability, at the classifier's temperature; for a classifier
of numbers the value. Two directions' probabilities are averaged first, as in any answer.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ulmfit.inference.answers import log_probabilities
from ulmfit.models.label_set import LabelSet


def label_scores(logits: np.ndarray, labels: LabelSet, column: int) -> np.ndarray:
    """Score the label in `column` from `logits` (directions, n, outputs): (n,)."""
    if labels.kind == "number":
        return np.asarray(logits, np.float64)[..., column].mean(0)
    found = log_probabilities(logits, labels) / labels.temperature
    if labels.kind == "multi":
        return found[:, column, 1] - found[:, column, 0]
    return found[:, column] - np.logaddexp.reduce(np.delete(found, column, axis=1), axis=1)


def differentiable_score(logits: Tensor, labels: LabelSet, column: int) -> Tensor:
    """Do the same for one document's `logits` (outputs,) of one direction, with a gradient."""
    if labels.kind == "number":
        return logits[column]
    heated = logits / labels.temperature
    if labels.kind == "multi":
        return heated[column]
    others = torch.cat([heated[:column], heated[column + 1 :]])
    return heated[column] - others.logsumexp(0)


def score_slopes(logits: np.ndarray, labels: LabelSet, column: int) -> np.ndarray:
    """Differentiate one document's score by its `logits` (outputs,) of one direction: (outputs,)."""
    with torch.enable_grad():
        leaf = torch.from_numpy(np.asarray(logits, np.float64)).requires_grad_()
        (slopes,) = torch.autograd.grad(differentiable_score(leaf, labels, column), leaf)
    return slopes.numpy()
