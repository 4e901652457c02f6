"""Stop a training that has gone wrong before it spoils the weights, and say what to change."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from fastai.callback.core import Callback

from ulmfit.errors import Diverged
from ulmfit.training.config import StageConfig

WINDOW = 20  # batches that the running mean looks back on
EXPLODED = 1.5  # times the lowest running mean so far, and no less than ...
MARGIN = 2.0  # ... this many nats above it


class Alarm(Callback):
    """Watch the loss of each batch, before the step that it would cause."""

    learn: Any

    order, run_valid = 30, False

    def __init__(self, config: StageConfig, checkpoint: Path) -> None:
        self.config, self.checkpoint = config, checkpoint
        self.mean, self.lowest = 0.0, 0.0
        self.n_batches = 0

    def facts(self) -> dict[str, float]:
        """Say what a resumed training has to know."""
        return {"mean": self.mean, "lowest": self.lowest, "n_batches": self.n_batches}

    def restore(self, facts: dict[str, float]) -> None:
        """Go on where `facts` were taken."""
        self.mean, self.lowest = facts["mean"], facts["lowest"]
        self.n_batches = int(facts["n_batches"])

    def after_loss(self) -> None:
        """Refuse a loss that is no number, or that has left all earlier ones behind."""
        loss = self.loss.item()
        if not math.isfinite(loss):
            raise self._diverged(f"the loss became {loss}")
        self.n_batches += 1
        self.mean += (loss - self.mean) / min(self.n_batches, WINDOW)
        self.lowest = self.mean if self.n_batches == 1 else min(self.lowest, self.mean)
        if self.mean > max(EXPLODED * self.lowest, self.lowest + MARGIN):
            raise self._diverged(f"the loss rose from {self.lowest:.2f} to {self.mean:.2f}")

    def _diverged(self, what: str) -> Diverged:
        position, clip = self.learn.dls.train.state(), self.config.clip
        kept = f"; the last good state is kept in {self.checkpoint}"
        return Diverged(
            f"{what} at batch {position.batch:,} of epoch {position.epoch + 1}: "
            f"lower --lr (now {self.config.lr:g}) or "
            f"{'set --clip 0.1' if clip is None else f'lower --clip (now {clip:g})'}, and use "
            f"--restart{kept if self.checkpoint.exists() else ''}"
        )
