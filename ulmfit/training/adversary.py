"""Adversarial training (Miyato et al. 2017): each batch is learnt from twice, as it is and moved to where its loss grows.

What moves are the embedded tokens of a document, all together by a share of their length: along the gradient that the first
reading has left there. Both gradients add up to one step, which takes twice the time.
"""

from __future__ import annotations

from typing import Any

import torch
from fastai.callback.core import Callback
from torch import Tensor

TINY = 1e-30  # a gradient of zeros moves nothing


class Adversary(Callback):
    """Read each training batch again, with its embedded documents moved by `share` of their length."""

    learn: Any

    order, run_valid = 10, False  # after fastai has cast the batch

    def __init__(self, share: float) -> None:
        self.share = share

    def before_batch(self) -> None:
        """Let the gradient reach the embedded tokens: it arrives at what is added to them, which is zero."""
        ids, lengths = self.xb
        size = self.model.arch.encoder.emb_sz
        nothing = torch.zeros(*ids.shape, size, device=ids.device, requires_grad=True)
        self.learn.xb = ids, lengths, nothing

    def after_backward(self) -> None:
        """Add the gradients of the moved batch."""
        ids, lengths, nudge = self.xb
        moved = self.share * self._lengths(ids, lengths) * _direction(nudge.grad)
        loss = self.loss_func(self.model(ids, lengths, moved), *self.yb)
        accumulate = getattr(self.learn, "accumulate", None)
        (loss / (1 if accumulate is None else accumulate.size())).backward()

    def _lengths(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Measure the embedded tokens of each document that are pooled: (bs, 1, 1)."""
        squares = self.model.encoder.embedding.weight.detach().square().sum(1)[ids]
        firsts = [self.model.arch.pooling.first_token(size) for size in lengths.tolist()]
        place = torch.arange(ids.shape[1], device=ids.device)
        is_pooled = (place >= lengths.new_tensor(firsts)[:, None]) & (place < lengths[:, None])
        return (squares * is_pooled).sum(1).sqrt()[:, None, None]


def _direction(gradient: Tensor) -> Tensor:
    """Bring each document's gradient (width, emb_sz) to unit length."""
    return gradient / gradient.square().sum((1, 2), keepdim=True).sqrt().clamp_min(TINY)
