"""Integrated gradients (Sundararajan et al. 2017): what each token gives to a score on the way from nothing to the text.

Nothing is the same document with zeros for embeddings. The tokens' parts add up to the difference of the
two scores, but for the error of the sum that stands for the integral: more steps make it smaller.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from ulmfit.errors import UserError
from ulmfit.inference.label_score import differentiable_score
from ulmfit.models.classifier import Classifier as Module
from ulmfit.models.classifier import ClassifierOutput
from ulmfit.models.label_set import LabelSet
from ulmfit.models.threads import threads_for
from ulmfit.text.vocab import PAD_ID

STEPS = (16, 32, 64, 128)  # tried one after the other
TOLERANCE = 0.01  # of the difference of the scores, or of 1 where that is larger
PASS_TOKENS = 1 << 12  # read at once, forward and back: some 300 MB at full size
MOST_TOKENS = 1 << 14

Score = Callable[[Tensor], Tensor]  # (n, tokens, emb_sz) -> (n,)


@dataclass(frozen=True, eq=False)
class Integral:
    """What each token gave, and how well the parts add up."""

    score: float
    """Of the text."""
    nothing: float
    """Of the zeros."""
    parts: np.ndarray
    """(n_tokens,)."""
    n_steps: int

    @property
    def gap(self) -> float:
        """By how much the parts miss the difference of the scores."""
        return float(self.parts.sum()) - (self.score - self.nothing)


def token_parts(
    model: Module,
    ids: np.ndarray,
    *,
    direction: str,
    labels: LabelSet,
    column: int,
    beside: np.ndarray | float = 0.0,
) -> Integral:
    """Integrate a label's score over the embeddings of the tokens that are pooled, in the order of `ids`.

    `beside` are logits that are added to the network's, all the way.

    Tokens before the pooled ones stay as they are throughout, and their parts are 0. `model` is the
    caller's own: its chunks let gradients pass from then on.
    """
    pooling = model.arch.pooling
    model.arch = replace(model.arch, pooling=replace(pooling, detach_chunks=False))
    read = torch.from_numpy((ids[::-1] if direction == "backward" else ids).copy())
    first = pooling.first_token(len(read))
    if len(read) - first > MOST_TOKENS:
        raise UserError(
            f"--method is integrated_gradients, which reads up to {MOST_TOKENS:,} pooled tokens, and the text "
            f"has {len(read) - first:,}: take occlusion or pooling"
        )
    before, embedded = model.encoder.embedding.weight[read].split([first, len(read) - first])

    def score(points: Tensor) -> Tensor:
        whole = torch.cat([before.expand(len(points), -1, -1), points], dim=1)
        logits = _logits(model, whole) + torch.as_tensor(beside)
        return torch.stack([differentiable_score(row, labels, column) for row in logits])

    rows = max(1, PASS_TOKENS // len(read))
    with threads_for(model.arch.encoder, bs=rows):
        found = integrate(score, embedded, rows=rows)
    parts = np.concatenate([np.zeros(first), found.parts])
    return replace(found, parts=parts[::-1] if direction == "backward" else parts)


def integrate(
    score: Score, point: Tensor, *, rows: int = 1 << 6, tolerance: float = TOLERANCE
) -> Integral:
    """Sum up gradients on the straight way from zeros to `point` (tokens, emb_sz), `rows` steps at a time.

    Steps are doubled until the parts add up to the difference of the scores, within the tolerance.
    """
    with torch.no_grad():
        nothing, end = score(torch.stack([torch.zeros_like(point), point])).double().tolist()
    for n_steps in STEPS:
        shares = (torch.arange(n_steps) + 0.5) / n_steps  # the middle of each step
        total = torch.zeros_like(point, dtype=torch.float64)
        for some in shares.split(rows):
            total += _gradient(score, some[:, None, None] * point).double().sum(0)
        parts = (total / n_steps * point).sum(1).numpy()
        found = Integral(end, nothing, parts, n_steps)
        if abs(found.gap) <= tolerance * max(1.0, abs(end - nothing)):
            break
    return found


def _gradient(score: Score, points: Tensor) -> Tensor:
    """Differentiate each point's score by the point."""
    with torch.enable_grad():
        leaf = points.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(score(leaf).sum(), leaf)
    return gradient


def _logits(model: Module, embedded: Tensor) -> Tensor:
    """Classify documents that are embedded already, (n, tokens, emb_sz): each token is a word of its own."""
    n, n_tokens, emb_sz = embedded.shape
    words = embedded.reshape(-1, emb_sz)
    weight = torch.cat([words.new_zeros(PAD_ID + 1, emb_sz), words])  # padding has no gradient
    ids = torch.arange(PAD_ID + 1, len(weight)).view(n, n_tokens)
    replaced = {"encoder.embedding.weight": weight}
    output: ClassifierOutput = functional_call(model, replaced, (ids, torch.full((n,), n_tokens)))
    return output.logits
