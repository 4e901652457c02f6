"""How long a stage may run, whom it tells, and whether it begins anew: nothing of it changes what comes out."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from numbers import Real

from fastprogress.core import IN_NOTEBOOK

from ulmfit.config import require
from ulmfit.history import TrainingProgress
from ulmfit.progress import StageProgress
from ulmfit.training.distributed import world
from ulmfit.training.journal import Listener


def shown(progress: Listener | None) -> Listener | None:
    """Let a stage that nobody listens to speak on stderr; in a notebook it stays silent, and fastai draws its bar."""
    return StageProgress() if progress is None and not IN_NOTEBOOK else progress


@dataclass(frozen=True)
class Session:
    """How a stage is run, which changes nothing of what comes out."""

    stage: str
    listener: Listener | None
    restart: bool
    max_minutes: float | None
    began_at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        minutes = self.max_minutes
        is_allowed = minutes is None or (isinstance(minutes, Real) and minutes > 0)
        require(is_allowed, "max_minutes", minutes, "above 0, as a number")

    def minutes_left(self) -> float | None:
        """Say how much of `max_minutes` is left: two directions share it."""
        if self.max_minutes is None:
            return None
        return max(1e-3, self.max_minutes - (time.monotonic() - self.began_at) / 60)

    def going_on(self) -> Session:
        """Give the session of a part: what the whole had to forget is forgotten already."""
        return replace(self, restart=False)

    def say(self, notice: str | None, direction: str) -> None:
        """Pass a notice on to the listener."""
        if notice and self.listener is not None and world().is_first:
            self.listener(TrainingProgress.saying(notice, stage=self.stage, direction=direction))
