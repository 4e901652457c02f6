"""The pooling path: which tokens the pooled vector came from, and what each gave to a label's score.

One reading and one gradient instead of a reading for each word. What it is and is not: `pooling_parts`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ulmfit.inference.label_score import differentiable_score
from ulmfit.models.classifier import Classifier as Module
from ulmfit.models.label_set import LabelSet
from ulmfit.models.state import State
from ulmfit.models.threads import one_thread


@dataclass(frozen=True, eq=False)
class TokenParts:
    """What each token gave to the parts of concat pooling, (n_tokens,) each, in the order of the ids."""

    score: float
    last: np.ndarray
    max: np.ndarray
    mean: np.ndarray
    n_won: np.ndarray
    """Units of the maximum that the token won; of equals the first read wins."""
    n_unpooled: int
    """Tokens that were read for their state alone."""

    @property
    def total(self) -> np.ndarray:
        """Add up the three parts."""
        return self.last + self.max + self.mean

    @property
    def base(self) -> float:
        """The score less what all tokens gave."""
        return self.score - float(self.total.sum())


def pooling_parts(
    model: Module,
    ids: np.ndarray,
    *,
    direction: str,
    labels: LabelSet,
    column: int,
    beside: np.ndarray | float = 0.0,
) -> TokenParts:
    """Take a label's score apart over the hidden states that were pooled; `beside` are logits added to the head's.

    The head is linear around the pooled vector: blocks of batch norm and linear layer, whose rectified
    units stay on or off nearby. So each unit of the vector gives its value times the score's gradient:
    those of `last` to the last token read, each of `max` to the token that won it, those of `mean` to
    all tokens, by their own states. The parts and `base` add up to the score, exactly; base is what the
    same linear function says of a vector of zeros. (Among three labels or more, log-odds are curved: the
    shares of the other labels are held fixed in them, and base takes up the difference.)

    This says where in the pooled states the score lies, not which words caused it: a state holds what
    was read before, the last one most of all. Occlusion asks the model itself; deletion curves
    (faithfulness.py) tell by how much it is the truer on a given model.
    """
    read = ids[::-1] if direction == "backward" else ids
    states = pooled_states(model, torch.from_numpy(read.copy()))
    n, units = states.shape
    highest, winners = states.max(0)
    pooled = torch.cat([states[-1], highest, states.mean(0)])
    score, gradient = _score_and_gradient(model, pooled, labels, column, beside)
    given = gradient * pooled.double()
    from_last, from_max, of_mean = given[:units], given[units : 2 * units], gradient[2 * units :]
    last, highest_parts = torch.zeros(2, n, dtype=torch.float64)
    last[-1] = from_last.sum()
    highest_parts.index_add_(0, winners, from_max)
    mean = states.double() @ of_mean / n
    n_unpooled = len(ids) - n

    def in_order(values: Tensor) -> np.ndarray:
        whole = np.concatenate([np.zeros(n_unpooled, values.numpy().dtype), values.numpy()])
        return whole[::-1] if direction == "backward" else whole

    n_won = winners.bincount(minlength=n)
    ordered = map(in_order, (last, highest_parts, mean, n_won))
    return TokenParts(score, *ordered, n_unpooled=n_unpooled)


@torch.no_grad()
def pooled_states(model: Module, ids: Tensor) -> Tensor:
    """Read one document (n_tokens,) as the classifier does; give the states that it pools: (n, units)."""
    pooling = model.arch.pooling
    first = pooling.first_token(len(ids))
    state: State | None = None
    kept = []
    with one_thread():  # products of one row are too small to share
        for start in range(0, len(ids), pooling.bptt):
            encoded = model.encoder(ids[None, start : start + pooling.bptt], state)
            state = encoded.state
            if start >= first:
                kept.append(encoded.raw[0])
    return torch.cat(kept)


def _score_and_gradient(
    model: Module, pooled: Tensor, labels: LabelSet, column: int, beside: np.ndarray | float
) -> tuple[float, Tensor]:
    """Score the label, and differentiate the score by the pooled vector (3 * units,)."""
    with torch.enable_grad():
        leaf = pooled.detach().requires_grad_()
        logits = model.head(leaf[None])[0] + torch.as_tensor(beside)
        score = differentiable_score(logits, labels, column)
        (gradient,) = torch.autograd.grad(score, leaf)
    return score.item(), gradient.double()
