"""The other end of `training/side_by_side.py`: a process that trains one direction and reports in JSON, a line a message.

In: one line on stdin, a Job; when stdin ends, so does the training, at a checkpoint. Out: lines on stdout.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO

from ulmfit.errors import Stopped, UserError
from ulmfit.files import from_json
from ulmfit.history import TrainingProgress
from ulmfit.models.arch import ArchConfig
from ulmfit.stages.table import STAGES
from ulmfit.training.side_by_side import Job


def train(job: Job, listener: Callable[[TrainingProgress], None]) -> None:
    """Run the stage of a job."""
    job.take_threads()
    stage, fields = STAGES[job.stage], dict(job.config)
    if "arch" in fields:
        fields["arch"] = from_json(ArchConfig, fields["arch"])
    config = from_json(stage.config, fields)
    inputs = [job.lm, job.corpus] if stage.needs_lm else [job.corpus]
    stage.run(*inputs, job.out, config=config, progress=listener, max_minutes=job.max_minutes)


def main(orders: TextIO, reports: TextIO) -> None:
    """Read a job, train, and say how it ended."""

    def say(message: dict[str, Any]) -> None:
        with suppress(BrokenPipeError):  # the parent is gone, and `_watch` knows
            reports.write(json.dumps(message) + "\n")
            reports.flush()

    def progress(moment: TrainingProgress) -> None:
        say({"progress": dataclasses.asdict(moment)})

    job = from_json(Job, json.loads(orders.readline()))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which decides
    threading.Thread(target=_watch, args=(orders.fileno(),), daemon=True).start()
    try:
        train(job, progress)
        say({"end": "done"})
    except Stopped as stop:
        say({"end": "Stopped", "said": str(stop), "reason": stop.reason})
    except UserError as error:
        say({"end": type(error).__name__, "said": str(error)})


def _watch(orders: int) -> None:
    """Stop when the parent closes the pipe, or is gone; on Windows no signal from outside could be caught."""
    while os.read(orders, 1):  # unbuffered: a lock of Python's would outlast the training
        pass
    signal.raise_signal(signal.SIGTERM)


def run() -> None:
    """Be the worker of the process that started this one."""
    main(sys.stdin, _own_stdout())


def _own_stdout() -> TextIO:
    """Take stdout for the reports; whatever a library prints goes to stderr."""
    reports = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return reports
