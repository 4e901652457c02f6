"""Train a Learner through all phases of its config, from the last checkpoint if there is one.

In: a Learner fresh from learner.py and the working folder of its stage. Out: the Learner with its
final weights, and what the journal holds.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

from fastai.callback.progress import ProgressCallback

from ulmfit.errors import Stopped, UserError
from ulmfit.history import EpochRow, StepRow, TrainingProgress
from ulmfit.training.alarm import Alarm
from ulmfit.training.callbacks import FollowPhases
from ulmfit.training.checkpoint import load_checkpoint
from ulmfit.training.distributed import StepTogether, total, wait, world
from ulmfit.training.interrupts import SIGNALS, Interrupts
from ulmfit.training.journal import Journal, Listener
from ulmfit.training.learner import StageLearner
from ulmfit.training.memory import enough_memory
from ulmfit.training.metrics import Measured
from ulmfit.training.resume import Checkpoints, KeepBest, Trainer, moved
from ulmfit.training.run import Run


@dataclass(frozen=True)
class Trained:
    """What a training leaves behind beside its weights."""

    before: float | None
    """The validation loss before the first step, if it was asked for."""
    epochs: tuple[EpochRow, ...]
    steps: tuple[StepRow, ...]
    best: EpochRow
    """The epoch that the weights are from: the last one, or with early stopping the best one."""


def train(
    learn: StageLearner,
    run: Run,
    *,
    stage: str,
    listener: Listener | None = None,
    max_minutes: float | None = None,
    measures_before: bool = False,
) -> Trained:
    """Train to the end, or to the next reason to stop; without a listener, as in a notebook, fastai shows its own bar."""
    config = learn.config
    follow = FollowPhases(learn.phases(), accumulate=config.accumulate)
    journal = Journal(follow, stage=stage, history=run.history, listener=listener)
    alarm = Alarm(config, run.checkpoint, is_likelihood=learn.is_likelihood)
    best = KeepBest(run, journal, config.patience)
    trainer = Trainer(learn, follow, journal, alarm, best)
    is_quiet = listener is not None or not world().is_first
    if is_quiet:
        learn.remove_cbs(ProgressCallback)
    saved = load_checkpoint(run.checkpoint)
    if saved is None and measures_before:
        journal.before = measure(learn).valid_loss
    with Interrupts(max_minutes) as interrupts, learn.threads():
        parts = [follow, alarm, journal, best, Checkpoints(trainer, run, interrupts)]
        if world().size > 1:
            parts.append(StepTogether())
        with learn.added_cbs(parts), learn.no_logging() if is_quiet else nullcontext():
            if saved is not None:
                trainer.restore(saved)
                if listener is not None and world().is_first and (notice := moved(saved.facts)):
                    listener(
                        TrainingProgress.saying(notice, stage=stage, direction=config.direction)
                    )
            left = follow.n_epochs - learn.dls.train.epoch
            if left and not best.is_over:
                with enough_memory(learn.config):
                    learn.fit(left)
            _heed(interrupts)
    return _outcome(learn, run, journal)


def measure(learn: StageLearner) -> Measured:
    """Measure the weights as they are on the validation documents."""
    with learn.no_bar(), learn.no_logging(), learn.threads():
        learn.validate()
    return learn.measured()


def _heed(interrupts: Interrupts) -> None:
    """Stop here if a signal came in after the last chance: who sent it wants no further stage."""
    asking = total([interrupts.reason() == name for name in SIGNALS])
    if reasons := [name for name, n in zip(SIGNALS, asking) if n]:
        raise Stopped(
            f"stopped ({reasons[0]}) after the last epoch; the same command goes on from there",
            reason=reasons[0],
        )


def _outcome(learn: StageLearner, run: Run, journal: Journal) -> Trained:
    """Put the best epoch's weights back if they were kept."""
    best = journal.epochs[-1]
    if learn.config.patience is not None:
        wait()
        kept = load_checkpoint(run.best)
        if kept is None:
            raise UserError(f"{run.best} is gone, and with it the best epoch: use --restart")
        learn.model.load_state_dict(kept.tensors)
        best = min(journal.epochs, key=lambda row: row.valid_loss)
    return Trained(journal.before, tuple(journal.epochs), tuple(journal.steps), best)
