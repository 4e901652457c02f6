"""Both directions at the same time, each in a process of its own: two cores finish them in the time of one.

In: what to train, direction by direction. Out: their finished folders, made by `stages/worker.py`. Sharing
every small product of one training between two threads gains far less than giving each direction a core.
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ulmfit.errors import Diverged, Stopped, UserError
from ulmfit.history import EpochRow, TrainingProgress
from ulmfit.text.corpus import Corpus
from ulmfit.training.config import StageConfig
from ulmfit.training.distributed import world
from ulmfit.training.interrupts import Interrupts
from ulmfit.training.journal import Listener

WORTH_A_PROCESS = (
    1 << 19
)  # tokens of a corpus: with fewer, two starts of Python cost more than is won
_PATIENCE = 600.0  # seconds in which a process that was told to stop has to write its checkpoint
# The modules of this process, and not what happens to lie in the folder that it was started in.
_PROGRAM = "import sys; sys.path[:] = {path!r}; from ulmfit.stages.worker import run; run()"
_ERRORS = {kind.__name__: kind for kind in (UserError, Diverged)}


@dataclass(frozen=True)
class Job:
    """One direction of a stage, as JSON can carry it."""

    stage: str
    lm: str | None
    """Folder or name of the language model to begin from; of a pair the one of this direction."""
    corpus: str
    out: str
    config: dict[str, Any]
    max_minutes: float | None
    threads: int

    @classmethod
    def of(
        cls,
        stage: str,
        lm: Path | None,
        corpus: Corpus,
        out: Path,
        *,
        config: StageConfig,
        max_minutes: float | None,
    ) -> Job:
        """Describe a training; the processes share the threads of this one."""
        threads = max(1, torch.get_num_threads() // 2)
        lm_folder = None if lm is None else str(lm)
        return cls(
            stage, lm_folder, str(corpus.folder), str(out), asdict(config), max_minutes, threads
        )

    def take_threads(self) -> None:
        """Let this process use as many threads as the job may."""
        torch.set_num_threads(self.threads)


def is_worth_it(corpus: Corpus) -> bool:
    """Say whether two processes are to train: there are cores for them, and text enough."""
    has_cores = torch.get_num_threads() >= 2 and not torch.cuda.is_available()
    is_large = int(corpus.offsets[-1]) >= WORTH_A_PROCESS
    return has_cores and is_large and world().size == 1


def train_side_by_side(jobs: Sequence[Job], listener: Listener) -> None:
    """Run the jobs at once, and pass on what they say; if one fails or is to stop, so do the others.

    Each leaves a finished folder, or a checkpoint from which the same call goes on.
    """
    messages: queue.Queue[dict[str, Any]] = queue.Queue()
    with Interrupts() as interrupts:
        workers: list[_Worker] = []
        try:
            for job in jobs:
                workers.append(_Worker(job, messages))
            _listen(workers, messages, listener, interrupts)
        finally:
            for worker in workers:
                worker.end()


def _listen(
    workers: Sequence[_Worker],
    messages: queue.Queue[dict[str, Any]],
    listener: Listener,
    interrupts: Interrupts,
) -> None:
    """Pass progress on until all are done; raise what the first one that failed has said."""
    failure: Exception | None = None
    n_left = len(workers)
    while n_left:
        reason = interrupts.reason()
        if reason or failure:
            for worker in workers:
                worker.ask_to_stop()
        try:
            message = messages.get(timeout=0.2)
        except queue.Empty:
            continue
        if "progress" in message:
            listener(_progress(message["progress"]))
            continue
        n_left -= 1
        found = _failure(message, interrupts.reason())
        # The others stop because of it: what they say of that is no news.
        failure = failure or found
    if failure:
        raise failure
    if reason := interrupts.reason():  # it came in when both were done
        raise Stopped(f"stopped ({reason}); the same command goes on from there", reason=reason)


def _failure(message: dict[str, Any], reason: str) -> Exception | None:
    """Turn a worker's last words into what a training of this process would have raised."""
    said = message.get("said", "")
    if message["end"] == "done":
        return None
    if reason or message["end"] == "Stopped":
        silent = f"stopped ({reason}); the same command goes on from the last checkpoint, if there is one"
        return Stopped(said or silent, reason=reason or message["reason"])
    if message["end"] in _ERRORS:
        return _ERRORS[message["end"]](said)
    if message["code"] >= 0:  # an error of ours, whose traceback it has printed
        return RuntimeError(f"the process that trained {message['out']} failed as is said above")
    return UserError(
        f"the process that trained {message['out']} ended with code {message['code']}, killed perhaps for lack of "
        "memory: the same command goes on from its last checkpoint; --threads 1 trains one direction after the other, with half the memory"
    )


def _progress(content: dict[str, Any]) -> TrainingProgress:
    row: dict[str, Any] | None = content.pop("epoch_row")
    return TrainingProgress(**content, epoch_row=None if row is None else EpochRow(**row))


@contextmanager
def as_a_worker() -> Generator[None]:
    """Take the threads that a worker would have, while the block runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, before // 2))
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Worker:
    """A process that trains one direction, and the thread that reads what it says."""

    def __init__(self, job: Job, messages: queue.Queue[dict[str, Any]]) -> None:
        self._job, self._messages = job, messages
        self._is_asked = False
        process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM.format(path=list(map(str, sys.path)))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C is for this process, which passes it on
        )
        assert process.stdin is not None and process.stdout is not None
        self._process, self._orders, self._reports = process, process.stdin, process.stdout
        with suppress(BrokenPipeError):  # it has died already: its reader tells
            # The pipe stays open: its end tells the worker to stop, also if this process is killed.
            self._orders.write(json.dumps(asdict(job)) + "\n")
            self._orders.flush()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        last: dict[str, Any] = {"end": "died"}
        for line in self._reports:
            try:
                message = json.loads(line)
            except ValueError:  # it was killed in the middle of a line
                continue
            if "progress" in message:
                self._messages.put(message)
            else:
                last = message
        code = self._process.wait()
        self._messages.put({**last, "code": code, "out": self._job.out})

    def ask_to_stop(self) -> None:
        """Let it write a checkpoint and end; once is enough."""
        if not self._is_asked:
            self._is_asked = True
            with suppress(OSError):  # it is gone
                self._orders.close()

    def end(self) -> None:
        """Leave no process behind."""
        self.ask_to_stop()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._reader.join(_PATIENCE)
        with suppress(OSError):
            self._reports.close()
