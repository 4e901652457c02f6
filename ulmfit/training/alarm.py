"""Stop a training that has gone wrong before it spoils the weights, and say what to change."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from fastai.callback.core import Callback

from ulmfit.errors import Diverged
from ulmfit.text.lm_stream import Position
from ulmfit.training.config import StageConfig

WINDOW = 20  # batches that the running mean looks back on
EXPLODED = 1.5  # times the lowest running mean, and no less than ...
MARGIN = 2.0  # ... this many nats above it, and above the first so many batches

_FACTS = ("mean", "lowest", "beginning", "n_batches")


class Alarm(Callback):
    """Watch the loss of each batch, before the step that it would cause."""

    learn: Any

    order, run_valid = 30, False

    def __init__(self, config: StageConfig, checkpoint: Path, *, is_likelihood: bool) -> None:
        self.config, self.checkpoint = config, checkpoint
        self.is_likelihood = is_likelihood  # in nats; the error of a number may have any size
        self.mean, self.lowest, self.beginning = 0.0, 0.0, 0.0
        self.n_batches = 0

    def facts(self) -> dict[str, float]:
        """Say what a resumed training has to know."""
        return {name: getattr(self, name) for name in _FACTS}

    def restore(self, facts: dict[str, float]) -> None:
        """Go on where `facts` were taken."""
        for name in _FACTS:
            setattr(self, name, facts[name])

    def after_loss(self) -> None:
        """Refuse a loss that is no number, or that has left all earlier ones behind."""
        loss = self.loss.item()
        if not math.isfinite(loss):
            raise self._diverged(f"the loss became {loss}")
        self.n_batches += 1
        self.mean += (loss - self.mean) / min(self.n_batches, WINDOW)
        if self.n_batches == 1:
            self.lowest = self.mean
        if self.n_batches <= WINDOW:
            self.beginning = max(self.beginning, self.mean)
        else:
            self.lowest = min(self.lowest, self.mean)
        limit = max(EXPLODED * self.lowest, self.lowest + MARGIN)
        if self.n_batches > WINDOW:
            limit = max(limit, self.beginning)
        is_known = self.n_batches >= WINDOW  # fewer may be one bad batch
        if self.is_likelihood and is_known and self.mean > limit:
            raise self._diverged(f"the loss rose from {self.lowest:.2f} to {self.mean:.2f}")

    def check(self, valid_loss: float | None = None) -> None:
        """Refuse weights that the last step has spoilt, before they are kept."""
        if valid_loss is not None and not math.isfinite(valid_loss):
            raise self._diverged(f"the validation loss became {valid_loss}")
        weights = self.learn.model.state_dict().values()
        if not all(weight.isfinite().all() for weight in weights):
            raise self._diverged("a weight became infinite or not a number")

    def _diverged(self, what: str) -> Diverged:
        position, clip = self.learn.dls.train.state(), self.config.clip
        kept = f"; the last good state is kept in {self.checkpoint}"
        return Diverged(
            f"{what} {_place(position)}: lower {self._rate(position)} or "
            f"{'set --clip 0.1' if clip is None else f'lower --clip (now {clip:g})'}, and use "
            f"--restart{kept if self.checkpoint.exists() else ''}"
        )

    def _rate(self, position: Position) -> str:
        """Name the flag that set the rate of the last step."""
        epoch = position.epoch - (position.batch == 0)
        name = "frozen_lr" if epoch < getattr(self.config, "frozen_epochs", 0) else "lr"
        if self.config.direction == "backward" and getattr(self.config, "backward_lr", None):
            name = "backward_lr"
        return f"--{name.replace('_', '-')} (now {getattr(self.config, name):g})"


def _place(position: Position) -> str:
    if position.batch:
        return f"at batch {position.batch:,} of epoch {position.epoch + 1}"
    return f"at the end of epoch {position.epoch}"
