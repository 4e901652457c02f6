"""What a training writes down as it goes: a row an epoch, a row every so many batches, and progress as it happens.

All that a resumed run needs to write the same rows again is in `facts`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastai.callback.core import Callback

from ulmfit.errors import UserError
from ulmfit.files import from_json
from ulmfit.history import EpochRow, StepRow, TrainingProgress, write_history
from ulmfit.training.callbacks import FollowPhases
from ulmfit.training.distributed import total, world
from ulmfit.training.metrics import Measured

STEP_ROWS = 1_000  # of a whole training
SMOOTHING = 0.98  # of the training loss that is shown, as in fastai

_COUNTS = ("total_loss", "scored", "tokens", "seconds", "average", "n_batches", "before")

Listener = Callable[[TrainingProgress], None]


class Journal(Callback):
    """Keep the rows, write history.csv after every epoch, and tell a listener how it goes."""

    learn: Any

    order = 55  # after fastai's Recorder

    def __init__(
        self,
        follow: FollowPhases,
        *,
        stage: str,
        history: Path,
        listener: Listener | None,
    ) -> None:
        self.follow, self.stage, self.history = follow, stage, history
        self.listener = listener
        self.epochs: list[EpochRow] = []
        self.steps: list[StepRow] = []
        self.before: float | None = None
        """The validation loss before the first step, if somebody measured it."""
        self.total_loss, self.scored, self.tokens, self.seconds = 0.0, 0, 0, 0.0  # of this epoch
        self.average, self.n_batches = 0.0, 0  # of all batches
        self._is_resumed = False
        self._speed = _Speed()

    def facts(self) -> dict[str, Any]:
        """Say what a resumed training has to know."""
        return {
            "epochs": [asdict(row) for row in self.epochs],
            "steps": [asdict(row) for row in self.steps],
            **{name: getattr(self, name) for name in _COUNTS},
        }

    def restore(self, facts: dict[str, Any]) -> None:
        """Go on where `facts` were taken."""
        self.epochs = [EpochRow(**row) for row in facts["epochs"]]
        self.steps = [from_json(StepRow, row) for row in facts["steps"]]
        for name in _COUNTS:
            setattr(self, name, facts[name])
        self._is_resumed = True

    def before_fit(self) -> None:
        """Count all batches once: how many a row of steps stands for, and how many are left."""
        n_batches = self.learn.dls.train.dataset.n_batches
        first = self.follow.first_epoch
        self._n_in_all = sum(map(n_batches, range(first, first + self.follow.n_epochs)))
        self._stride = max(1, self._n_in_all // STEP_ROWS)

    def before_train(self) -> None:
        """Begin an epoch, or go on in the middle of one."""
        if not (self._is_resumed and self.learn.dls.train.state().batch):
            self.total_loss, self.scored, self.tokens, self.seconds = 0.0, 0, 0, 0.0
        self._is_resumed = False
        self._n_iter = self.learn.dls.train.dataset.n_batches(self.learn.dls.train.epoch)
        self._clock = time.perf_counter()

    def after_batch(self) -> None:
        """Write down a training batch."""
        if not self.training:
            return
        now = time.perf_counter()
        seconds, self._clock = now - self._clock, now
        loss, tokens, scored = self.loss.item(), self.learn.n_tokens(), self.learn.n_scored()
        self.total_loss += loss * scored
        self.scored += scored
        self.tokens += tokens
        self.seconds += seconds
        self.average = self.average * SMOOTHING + loss * (1 - SMOOTHING)
        self.n_batches += 1
        self._speed.add(tokens * world().size, seconds)
        if self.n_batches % self._stride == 0:
            rates = self.opt.hypers
            lrs = tuple(group["lr"] for group in rates)
            self.steps.append(StepRow(self.n_batches, self.loss_shown, lrs, rates[-1]["mom"]))
        self._tell()

    def after_epoch(self) -> None:
        """Write down an epoch; every process comes to the same numbers."""
        found: Measured = self.learn.measured()
        loss, scored, tokens = total([self.total_loss, self.scored, self.tokens])
        epoch = self.learn.dls.train.epoch  # of the next pass: this one is complete
        self.epochs.append(
            EpochRow(
                epoch=epoch - self.follow.first_epoch,
                phase=self.follow.place(epoch - 1) + 1,
                lr=max(group["lr"] for group in self.opt.hypers),
                train_loss=loss / scored,
                valid_loss=found.valid_loss,
                accuracy=found.accuracy,
                perplexity=found.perplexity,
                bits_per_character=found.bits_per_character,
                tokens=int(tokens),
                tokens_per_second=tokens / max(self.seconds, 1e-9),
                seconds=self.seconds,
            )
        )
        if world().is_first:
            with contextlib.suppress(UserError):  # a full disk: the checkpoint that follows says so
                write_history(self.history, self.epochs)
        self._tell(self.epochs[-1])

    @property
    def loss_shown(self) -> float:
        """The smoothed training loss, without the pull of its start at zero."""
        return self.average / (1 - SMOOTHING**self.n_batches)

    def _tell(self, row: EpochRow | None = None) -> None:
        if self.listener is None or not world().is_first:
            return
        position = self.learn.dls.train.state()
        epoch = position.epoch - self.follow.first_epoch + (row is None)
        left = self._n_in_all - self.n_batches
        self.listener(
            TrainingProgress(
                stage=self.stage,
                direction=self.learn.config.direction,
                epoch=epoch,
                n_epochs=self.follow.n_epochs,
                batch=position.batch if row is None else self._n_iter,
                n_batches=self._n_iter,
                loss=self.loss_shown,
                tokens_per_second=self._speed.tokens_per_second,
                seconds_left=left * self._speed.seconds_per_batch,
                epoch_row=row,
            )
        )


class _Speed:
    """How fast this process has been, whatever was before a restart."""

    def __init__(self) -> None:
        self.tokens, self.seconds, self.n_batches = 0, 0.0, 0

    def add(self, tokens: int, seconds: float) -> None:
        self.tokens, self.seconds = self.tokens + tokens, self.seconds + seconds
        self.n_batches += 1

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / max(self.seconds, 1e-9)

    @property
    def seconds_per_batch(self) -> float:
        return self.seconds / max(self.n_batches, 1)
