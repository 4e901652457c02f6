"""What is minimised, and what is measured on the way: losses that leave sums behind, and fastai metrics that add them up.

In training a loss is a mean with a gradient, smoothed and weighted as the config says. Outside of it
the same object leaves plain sums, so that every token or document counts the same in any batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from fastai.learner import Metric
from torch import Tensor
from torch.nn import functional as F

from ulmfit.inference.answers import THRESHOLD
from ulmfit.models.classifier import ClassifierOutput
from ulmfit.models.language_model import LMOutput
from ulmfit.training.metrics import DocumentSums, TokenSums

if TYPE_CHECKING:
    from ulmfit.text.corpus import Corpus
    from ulmfit.text.holdout import Rows


class TokenLoss:
    """Score a language model's output against the ids one token later."""

    def __init__(self, smoothing: float = 0.0) -> None:
        self.smoothing = smoothing
        self.sums = TokenSums()
        """Of the last batch that was scored without gradients: never smoothed."""

    def __call__(self, output: LMOutput, targets: Tensor) -> Tensor:
        """Average over the tokens of a batch."""
        if torch.is_grad_enabled():
            return output.losses(targets, smoothing=self.smoothing).mean()
        scored = output.losses(targets, with_hits=True)
        assert scored.hits is not None
        self.sums = TokenSums(
            scored.losses.double().sum().item(), int(scored.hits.sum()), targets.numel()
        )
        return scored.mean()


class DocumentLoss:
    """Score a classifier's logits: cross entropy of one label, of several, or the squared error of a number.

    A number is learnt as its distance from `centre` in units of `spread`, the mean and the deviation of the labels: whatever
    their unit, the rates that suit labels suit them, and a loss of 1 is that of always saying the mean. A document weighs as much as its label. torch's own combination of weights and smoothing weighs
    the smoothed part by all labels' weights, which pulls probabilities towards the heavy ones.
    """

    reduction = "mean"  # fastai sets it to none where it wants each document's loss

    def __init__(
        self,
        kind: str,
        *,
        smoothing: float = 0.0,
        weights: Tensor | None = None,
        centre: float = 0.0,
        spread: float = 1.0,
    ) -> None:
        self.kind, self.smoothing, self.weights = kind, smoothing, weights
        self.centre, self.spread = centre, spread
        self.sums = DocumentSums()
        """Of the last batch that was scored without gradients: neither smoothed nor weighted."""

    def __call__(self, output: ClassifierOutput, labels: Tensor) -> Tensor:
        """Average over the documents of a batch; where nothing is learnt, over those that have a label."""
        logits = output.logits.float()
        if torch.is_grad_enabled():
            losses = self._losses(logits, labels, self.smoothing)
            if self.weights is None:
                return losses.mean()
            weights = self._of_documents(labels)
            return (losses * weights).sum() / weights.sum()
        known = _has_label(labels)
        losses = torch.full((len(labels),), torch.nan, device=logits.device)
        losses[known] = scored = self._losses(logits[known], labels[known], 0.0)
        n_hits = self._hits(logits[known], labels[known])
        self.sums = DocumentSums(scored.double().sum().item(), n_hits, len(scored))
        return losses if self.reduction == "none" else scored.mean()

    def shown(self, logits: Tensor) -> Tensor:
        """Give what metrics compare with the labels: logits, or the numbers themselves."""
        return self.centre + self.spread * logits if self.kind == "number" else logits

    def activation(self, shown: Tensor) -> Tensor:
        """Turn what is shown into what `get_preds` gives: probabilities, or the numbers as they are."""
        if self.kind == "number":
            return shown
        return shown.sigmoid() if self.kind == "multi" else shown.softmax(dim=1)

    def decodes(self, found: Tensor) -> Tensor:
        """Choose the answers, as codes."""
        if self.kind == "number":
            return found
        return found >= THRESHOLD if self.kind == "multi" else found.argmax(dim=1)

    def _losses(self, logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        """Give each document's loss: (bs,)."""
        if self.kind == "number":
            return (logits.squeeze(1) - (labels - self.centre) / self.spread).square()
        if self.kind == "multi":
            truth = labels * (1 - smoothing) + smoothing / 2
            return F.binary_cross_entropy_with_logits(logits, truth, reduction="none").mean(1)
        return F.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="none")

    def _of_documents(self, labels: Tensor) -> Tensor:
        assert self.weights is not None
        weights = self.weights.to(labels.device)  # fastai moves a loss only if it is a module
        if self.kind == "multi":
            # The mean weight of the labels that hold, and of one more that weighs 1: there may be none.
            return (labels @ weights + 1) / (labels.sum(1) + 1)
        return weights[labels]

    def _hits(self, logits: Tensor, labels: Tensor) -> int:
        """Count the documents whose answer is right, of several labels all of them."""
        if self.kind == "number":
            return 0
        if self.kind == "multi":
            return int(((logits >= 0) == (labels > 0.5)).all(1).sum())
        return int((logits.argmax(1) == labels).sum())


def _has_label(labels: Tensor) -> Tensor:
    """Tell which documents have a label: (bs,)."""
    is_given = labels.isfinite() if labels.is_floating_point() and labels.ndim == 1 else labels >= 0
    return is_given if is_given.ndim == 1 else is_given.all(1)


class SumMetric(Metric):
    """A metric over a validation pass, from the sums that the loss leaves behind."""

    def __init__(self, name: str, metric: Callable[[Any], float], *, empty: Any) -> None:
        self._name, self.metric, self.empty = name, metric, empty
        self.reset()

    def reset(self) -> None:
        """Forget what was seen."""
        self.sums = self.empty

    def accumulate(self, learn: Any) -> None:
        """Add the batch that was just scored."""
        self.sums += learn.loss_func.sums

    @property
    def value(self) -> float:
        """The metric over all that was seen."""
        return self.metric(self.sums)

    @property
    def name(self) -> str:
        """The heading of its column."""
        return self._name


def unit_of(corpus: Corpus, rows: Rows) -> tuple[float, float]:
    """Give mean and standard deviation of the numbers to learn from; 1 for the latter where they are all the same."""
    assert corpus.labels is not None
    numbers = corpus.labels[rows.train].astype(np.float64)
    return float(numbers.mean()), float(numbers.std()) or 1.0


def label_weights(corpus: Corpus, rows: Rows) -> Tensor | None:
    """Weigh each label by the inverse of its share among the documents to learn from; 1 on average.

    A label that no such document has counts as if one had.
    """
    if corpus.labels is None:
        return None
    labels = corpus.labels[rows.train]
    n_labels = len(corpus.label_names)
    if corpus.label_kind == "multi":
        counts = (labels > 0).sum(0)
    else:
        counts = np.bincount(labels, minlength=n_labels)
    counts = np.maximum(1, counts)
    return torch.from_numpy(counts.sum() / (n_labels * counts)).float()
