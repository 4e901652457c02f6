"""Checkpoints that a training goes on from as if nothing had happened: capture, restore, and when to write.

A checkpoint holds weights, the optimiser's state, the hidden state, the random generator, the
place in the stream and the journal. Written between two steps, it makes the rest a pure function.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch
from fastai.callback.core import Callback, CancelFitException
from torch import Tensor

from ulmfit.errors import Stopped, UserError
from ulmfit.models import native
from ulmfit.models.precision import has_fast_bf16
from ulmfit.models.state import State
from ulmfit.text.lm_stream import Position
from ulmfit.training.alarm import Alarm
from ulmfit.training.callbacks import Accumulate, CarryState, FollowPhases
from ulmfit.training.checkpoint import Checkpoint, save_checkpoint
from ulmfit.training.distributed import gathered, total, wait, world
from ulmfit.training.interrupts import LATE, REASONS, Interrupts
from ulmfit.training.journal import Journal
from ulmfit.training.learner import StageLearner
from ulmfit.training.run import Run

MINUTES = 10.0  # between two checkpoints of the same epoch


class KeepBest(Callback):
    """Remember the epoch with the lowest validation loss, and stop when none has been better for long."""

    learn: Any

    order = 56  # after the journal

    def __init__(self, run: Run, journal: Journal, patience: int | None) -> None:
        self.run_folder, self.journal, self.patience = run, journal, patience
        self.lowest, self.n_worse, self.is_over = float("inf"), 0, False

    def after_epoch(self) -> None:
        """Compare this epoch with the best one."""
        if self.patience is None:
            return
        loss = self.journal.epochs[-1].valid_loss
        if loss < self.lowest:
            self.lowest, self.n_worse = loss, 0
            if world().is_first:
                save_checkpoint(
                    self.run_folder.best, Checkpoint(dict(self.learn.model.state_dict()), {})
                )
        else:
            self.n_worse += 1
        # What has not been unfrozen yet deserves its chance.
        is_last = self.journal.epochs[-1].phase == len(self.journal.follow.phases)
        self.n_worse = self.n_worse if is_last else 0
        self.is_over = self.n_worse > self.patience

    def facts(self) -> dict[str, Any]:
        """Say what a resumed training has to know."""
        lowest = None if self.lowest == float("inf") else self.lowest
        return {"lowest": lowest, "n_worse": self.n_worse, "is_over": self.is_over}

    def restore(self, facts: dict[str, Any]) -> None:
        """Go on where `facts` were taken."""
        self.lowest = float("inf") if facts["lowest"] is None else facts["lowest"]
        self.n_worse, self.is_over = facts["n_worse"], facts["is_over"]


def moved(facts: dict[str, Any]) -> str:
    """Say what has changed since a checkpoint was written that decides the last bits of a step."""
    now, then = _rounding(), facts.get("rounding", {})
    changes = [f"{name} {now[name]}, was {then[name]}" for name in then if now[name] != then[name]]
    if not changes:
        return ""
    return f"goes on where it was stopped, but rounds otherwise than before ({'; '.join(changes)}): its last bits will differ"


def _rounding() -> dict[str, Any]:
    is_fast = has_fast_bf16()
    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "bf16": is_fast,
        "kernels": is_fast and native.kernels() is not None,
    }


@dataclass(frozen=True, eq=False)
class Trainer:
    """The parts of a training that a checkpoint is made of."""

    learn: StageLearner
    follow: FollowPhases
    journal: Journal
    alarm: Alarm
    best: KeepBest

    def capture(self, position: Position) -> Checkpoint:
        """Take all that the rest of the training depends on; every process has to call this."""
        learn = self.learn
        tensors = {f"model.{name}": t for name, t in learn.model.state_dict().items()}
        for number, values in learn.opt.state_dict()["state"].items():
            tensors |= {f"optimiser.{number}.{name}": t for name, t in values.items()}
        for name, tensor in self._own_tensors().items():
            for rank, part in enumerate(gathered(tensor)):
                tensors[f"process.{rank}.{name}"] = part
        facts = {
            "epoch": position.epoch,
            "batch": position.batch,
            "processes": world().size,
            "rounding": _rounding(),
            **{name: getattr(self, name).facts() for name in ("journal", "alarm", "best")},
        }
        return Checkpoint(tensors, facts)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Put everything back as it was captured."""
        tensors, facts, learn = checkpoint.tensors, checkpoint.facts, self.learn
        if facts["processes"] != world().size:
            raise UserError(
                f"this training began with {facts['processes']} processes and cannot go on with "
                f"{world().size}: launch as many as before, or use --restart"
            )
        learn.model.load_state_dict(_below(tensors, "model."))
        learn.create_opt()
        learn.dls.train.resume(Position(facts["epoch"], facts["batch"]))
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _below(tensors, "optimiser.").items():
            number, _, key = name.partition(".")
            state.setdefault(int(number), {})[key] = tensor
        learn.opt.load_state_dict({**learn.opt.state_dict(), "state": state})
        own = _below(tensors, f"process.{world().rank}.")
        if carried := _nested(_below(own, "state.")):
            for callback in _carrying(learn):
                callback.resume(carried, device=learn.dls.device)
        torch.set_rng_state(own["random"])
        if "random.cuda" in own:
            torch.cuda.set_rng_state(own["random.cuda"])
        for name in ("journal", "alarm", "best"):
            getattr(self, name).restore(facts[name])

    def _own_tensors(self) -> dict[str, Tensor]:
        """Name what differs between the processes."""
        own = {"random": torch.get_rng_state()}
        if torch.cuda.is_available():
            own["random.cuda"] = torch.cuda.get_rng_state()
        # Between passes there is no state to go on from: what is left is the validation's.
        states = [cb.state for cb in _carrying(self.learn) if self.learn.training]
        for depth, layer in enumerate(states[0] or () if states else ()):
            own |= {f"state.{depth}.{i}": part for i, part in enumerate(layer)}
        return own


class Checkpoints(Callback):
    """Write a checkpoint after every epoch, every few minutes between, and when asked to stop."""

    learn: Any

    order = 70  # when all others are through with a batch

    def __init__(self, trainer: Trainer, run: Run, interrupts: Interrupts) -> None:
        self.trainer, self.run_folder, self.interrupts = trainer, run, interrupts
        self._written_at = time.monotonic()
        self._has_trained = False

    def after_batch(self) -> None:
        """Between two steps, or at any moment of a validation, write what is due."""
        is_late = self.training and time.monotonic() - self._written_at > 60 * MINUTES
        reason = self.interrupts.reason()
        self._has_trained |= self.training
        if reason == LATE and not self._has_trained:
            reason = ""  # a measurement begins anew each time: stopped in it again and again, nothing would ever end
        n_late, *n_asking = total([is_late, *(reason == name for name in REASONS)])
        reasons = [name for name, n in zip(REASONS, n_asking) if n]  # the same in all processes
        if not (n_late or reasons) or not self._is_between_steps():
            return
        position = self.learn.dls.train.state()
        if not self.training:  # the pass is complete, but its measurement has to be made again
            n_batches = self.learn.dls.train.dataset.n_batches(position.epoch - 1)
            position = Position(position.epoch - 1, n_batches)
        self._write(position)
        if reasons:
            raise Stopped(
                f"stopped ({reasons[0]}) in epoch {position.epoch + 1}, batch "
                f"{position.batch:,}; the same command goes on from there",
                reason=reasons[0],
            )

    def after_epoch(self) -> None:
        """Write the end of an epoch, unless it has spoilt the weights."""
        valid_loss = self.trainer.journal.epochs[-1].valid_loss
        self._write(self.learn.dls.train.state(), valid_loss=valid_loss)
        if self.trainer.best.is_over:
            raise CancelFitException

    def _is_between_steps(self) -> bool:
        steps = [cb for cb in self.learn.cbs if isinstance(cb, Accumulate)]
        return not self.training or all(cb.is_step() for cb in steps)

    def _write(self, position: Position, *, valid_loss: float | None = None) -> None:
        self.trainer.alarm.check(valid_loss)
        checkpoint = self.trainer.capture(position)
        if world().is_first:
            save_checkpoint(self.run_folder.checkpoint, checkpoint)
        wait()
        self._written_at = time.monotonic()


def _carrying(learn: StageLearner) -> list[CarryState]:
    """Find the callback that carries a state from batch to batch; a classifier has none."""
    return [cb for cb in learn.cbs if isinstance(cb, CarryState)]


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Take the tensors under a prefix, without it."""
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def _nested(flat: dict[str, Tensor]) -> State:
    """Turn `depth.part` names back into layers of tensors."""
    depths = sorted({int(name.split(".")[0]) for name in flat})
    layers = ([flat[n] for n in sorted(flat) if int(n.split(".")[0]) == d] for d in depths)
    return tuple(tuple(layer) for layer in layers)
