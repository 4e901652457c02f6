"""What turns fastai's training loop into that of the three stages: callbacks of one idea each.

A batch passes them in the order of their numbers: the state goes in with the ids and comes out with
the output, penalties join the loss, gradients are added up over batches, rates follow the phases.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from fastai.callback.core import Callback, CancelBatchException
from fastai.learner import AvgLoss

from ulmfit.models.regularisation import activation_reg, temporal_reg
from ulmfit.models.state import State, detach, resize
from ulmfit.text.lm_stream import Position
from ulmfit.training.losses import SumMetric
from ulmfit.training.memory import give_back
from ulmfit.training.schedules import Phase, rates


class CarryState(Callback):
    """Hand the state of one batch to the next; a pass begins without one."""

    learn: Any

    order = 10  # after fastai has cast the batch

    def __init__(self) -> None:
        self.state: State | None = None
        self._is_resumed = False

    def resume(self, state: State, *, device: torch.device) -> None:
        """Let the next training pass begin with `state`."""
        self.state = tuple(tuple(part.to(device) for part in layer) for layer in state)
        self._is_resumed = True

    def before_train(self) -> None:
        """Begin a pass, or go on with one."""
        if not self._is_resumed:
            self.state = None
        self._is_resumed = False

    def before_validate(self) -> None:
        """Begin a pass."""
        self.state = None

    def before_batch(self) -> None:
        """Put the state beside the ids."""
        (ids,) = self.xb
        self.learn.xb = (ids, None if self.state is None else resize(self.state, len(ids)))

    def after_pred(self) -> None:
        """Take the state out of the output, cut off from its graph."""
        self.state = detach(self.pred.state)


class Regularise(Callback):
    """Add the penalties on activations and on their changes to what is minimised."""

    learn: Any

    order, run_valid = 4, False

    def __init__(self, *, activation: float, temporal: float) -> None:
        self.activation, self.temporal = activation, temporal

    def after_loss(self) -> None:
        """Add both, where they count at all."""
        output, lengths = self.pred, getattr(self.pred, "lengths", None)
        if self.activation:
            penalty = activation_reg(output.dropped, lengths=lengths)
            self.learn.loss_grad = self.loss_grad + self.activation * penalty
        if self.temporal:
            penalty = temporal_reg(output.raw, lengths=lengths)
            self.learn.loss_grad = self.loss_grad + self.temporal * penalty


class ShowLogits(Callback):
    """Leave fastai's metrics and `get_preds` the logits, or numbers, where nothing is learnt: they know no other output."""

    learn: Any

    order, run_train = 6, False

    def after_loss(self) -> None:
        """Take them out of a classifier's output."""
        self.learn.pred = self.loss_func.shown(self.pred.logits)


class ShowWordLogits(Callback):
    """Leave fastai's metrics a language model's logits where nothing is learnt, if there is a metric that needs them."""

    learn: Any

    order, run_train = 6, False

    def after_loss(self) -> None:
        """Compute them for the whole vocabulary, which the loss never does."""
        if not all(isinstance(metric, (SumMetric, AvgLoss)) for metric in self.learn.metrics):
            self.learn.pred = self.pred.logits()


class Accumulate(Callback):
    """Add up the gradients of `n_batches` before each step; the last step of a pass takes what is left."""

    learn: Any

    order, run_valid = 5, False

    def __init__(self, n_batches: int) -> None:
        self.n_batches = n_batches

    def after_loss(self) -> None:
        """Weigh the batch so that a step sees the mean over its batches."""
        self.learn.loss_grad = self.loss_grad / self.size()

    def before_step(self) -> None:
        """Skip the step while batches are missing."""
        if not self.is_step():
            raise CancelBatchException

    def is_step(self) -> bool:
        """Say whether the batch at hand ends with a step."""
        n_read = self.learn.dls.train.state().batch
        return n_read % self.n_batches == 0 or n_read == self.n_iter

    def size(self) -> int:
        """Count the batches of the step to which the batch at hand belongs."""
        before = (self.learn.dls.train.state().batch - 1) // self.n_batches * self.n_batches
        return min(self.n_batches, self.n_iter - before)


class GiveBack(Callback):
    """Keep a long training's memory from growing: batches of many shapes leave holes in it."""

    learn: Any

    order = 90  # after all others

    def __init__(self, every: int = 50) -> None:
        self.every = every

    def after_batch(self) -> None:
        """Fill the holes now and then."""
        if self.iter % self.every == self.every - 1:
            give_back()

    def after_fit(self) -> None:
        """Leave none behind."""
        give_back()


class FollowPhases(Callback):
    """Freeze layer groups and set rates as a tuple of phases says.

    Which phase and step it is follows from the loader's position alone. `first_epoch` is the
    loader's epoch at which the first phase begins.
    """

    learn: Any

    order, run_valid = 20, False

    def __init__(
        self, phases: Sequence[Phase], *, accumulate: int = 1, first_epoch: int = 0
    ) -> None:
        self.phases, self.accumulate, self.first_epoch = tuple(phases), accumulate, first_epoch
        ends = list(itertools.accumulate((p.epochs for p in self.phases), initial=first_epoch))
        self._spans = list(zip(self.phases, ends, ends[1:]))
        self._n_steps: dict[int, int] = {}

    @property
    def n_epochs(self) -> int:
        """Epochs of all phases together."""
        return sum(phase.epochs for phase in self.phases)

    def place(self, epoch: int) -> int:
        """Say in which phase an epoch lies."""
        return next(i for i, (_, _, stop) in enumerate(self._spans) if epoch < stop)

    def before_epoch(self) -> None:
        """Enter a phase with its first batch: a fresh optimiser state, as in all of fastai."""
        position = self.learn.dls.train.state()
        phase, start, _ = self._spans[self.place(position.epoch)]
        self.freeze(phase)
        if position == Position(start):
            self.learn.opt.clear_state()
            self.learn.opt.zero_grad()  # of a batch that was broken off

    def freeze(self, phase: Phase) -> None:
        """Let exactly those layer groups learn that the phase says."""
        groups = self.learn.opt.param_lists
        for group, learns in zip(groups, phase.is_trainable(len(groups))):
            for parameter in group:
                parameter.requires_grad_(learns)

    def before_train(self) -> None:
        """Set the last step's rates again, for an epoch of which only the measurement is left."""
        if self.learn.dls.train.state().batch:
            self.before_batch()

    def before_batch(self) -> None:
        """Set the rates of the step to which the batch belongs."""
        position = self.learn.dls.train.state()
        phase, start, stop = self._spans[self.place(position.epoch)]
        step = self.n_steps(start, position.epoch) + (position.batch - 1) // self.accumulate
        now = rates(
            phase, step, n_steps=self.n_steps(start, stop), n_groups=len(self.opt.param_lists)
        )
        self.opt.set_hypers(lr=list(now.lrs), mom=now.momentum)

    def n_steps(self, start: int, stop: int) -> int:
        """Count the optimiser's steps from one epoch to another."""
        for epoch in range(start, stop):
            if epoch not in self._n_steps:  # a jittered stream draws its cuts to count them
                n_batches = self.learn.dls.train.dataset.n_batches(epoch)
                self._n_steps[epoch] = -(-n_batches // self.accumulate)
        return sum(self._n_steps[epoch] for epoch in range(start, stop))
