"""Several processes that train one model: each reads its own columns of the stream, and steps are taken together.

`torchrun` and `accelerate launch` say through the environment who is who. With one process every
function here is the identity, so that nobody has to ask how many there are.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from fastai.callback.core import Callback
from torch import Tensor, distributed, nn

from ulmfit.errors import Stopped, UserError

# Nobody works alone for this long: a process that is not heard of has lost its machine. One that
# only ends is noticed at once, since its connections close.
PATIENCE = timedelta(minutes=10)
_meetings = itertools.count()
_WHERE = ("MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE")
LARGE = 1 << 18  # elements: from here on, copying costs more than a message of its own


@dataclass(frozen=True)
class World:
    """How many processes train, and which of them this one is."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files and talks to the user."""
        return self.rank == 0

    def share(self, bs: int) -> int:
        """Divide the rows of a batch among the processes."""
        if bs % self.size:
            raise UserError(
                f"--bs {bs} cannot be shared by {self.size} processes: choose a multiple of {self.size}"
            )
        return bs // self.size


def world() -> World:
    """Say who this process is."""
    if distributed.is_available() and distributed.is_initialized():
        return World(distributed.get_rank(), distributed.get_world_size())
    return World()


@contextmanager
def joined() -> Generator[World]:
    """Join the processes that were launched together, unless this one has already, and leave them afterwards."""
    if n_launched() == 1 or distributed.is_initialized():
        yield world()
        return
    _meet()
    try:
        yield world()
    finally:
        distributed.destroy_process_group()


@contextmanager
def one_voice() -> Generator[World]:
    """Join, and let all processes together say what one alone would: the first one speaks.

    Of an error every process may be the first to know, and the others fail with it or because of it.
    Whoever meets it first raises it; the others end with a SystemExit.
    """
    if n_launched() == 1:
        yield world()
        return
    store = _meet()
    try:
        with _silent(not world().is_first):
            yield world()
    except BaseException as error:
        if not _is_first_to_tell(store):
            raise SystemExit(1) from error
        raise
    finally:
        distributed.destroy_process_group()


def n_launched() -> int:
    """Count the processes that were launched together, as their launcher says."""
    size = os.environ.get("WORLD_SIZE", "")
    return int(size) if size.isdecimal() and "RANK" in os.environ else 1


def total(values: Iterable[float]) -> list[float]:
    """Add up each value over the processes."""
    values = list(values)
    if world().size == 1:
        return values
    summed = torch.tensor(values, dtype=torch.float64)
    with _together():
        distributed.all_reduce(summed)
    return summed.tolist()


def gathered(tensor: Tensor) -> list[Tensor]:
    """Collect a tensor of the same shape from every process, in the order of their ranks."""
    if world().size == 1:
        return [tensor]
    sent = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)  # bytes: any type is sent
    received = [torch.empty_like(sent) for _ in range(world().size)]
    with _together():
        distributed.all_gather(received, sent)
    return [part.view(tensor.dtype).view(tensor.shape) for part in received]


def wait() -> None:
    """Wait until all processes are here."""
    total([0.0])


def equalise(model: nn.Module) -> None:
    """Give every process the first one's weights."""
    if world().size > 1:
        with _together():
            for tensor in model.state_dict().values():
                distributed.broadcast(tensor, 0)


def average(tensors: list[Tensor]) -> None:
    """Replace each tensor by its mean over the processes; small ones travel as one."""
    if world().size == 1:
        return
    large = [t for t in tensors if t.numel() >= LARGE and t.is_contiguous()]
    small = [t for t in tensors if t.numel() < LARGE or not t.is_contiguous()]
    joint = torch.cat([t.flatten() for t in small]) if small else torch.empty(0)
    with _together():
        for message in (*large, joint):
            distributed.all_reduce(message)
            message /= world().size
    for tensor, part in zip(small, joint.split([t.numel() for t in small])):
        tensor.copy_(part.view_as(tensor))


class StepTogether(Callback):
    """Let every process see the mean of all losses, and step with the mean of all gradients.

    Each has as many rows as the others, so these means are those of the whole batch.
    """

    learn: Any

    # After penalties and gradients were added up; before losses are watched and gradients clipped.
    order, run_valid = 6, False

    def after_loss(self) -> None:
        """Replace the loss that is shown and watched; what is minimised stays this process's own."""
        (loss,) = total([self.learn.loss.item()])
        self.learn.loss = self.learn.loss.new_tensor(loss / world().size)

    def before_step(self) -> None:
        """Replace the gradients."""
        average([p.grad for p in self.learn.model.parameters() if p.grad is not None])


def _meet() -> distributed.Store:
    """Find the others, and return the store that all of them read and write."""
    try:
        common, rank, size = _place(*(os.environ.get(name, "") for name in _WHERE))
        # What was written at an earlier meeting of the same processes counts no more.
        store = distributed.PrefixStore(f"ulmfit/{next(_meetings)}", common)
        # Counts and decisions travel between CPUs, also where gradients travel between GPUs.
        backend = "gloo"
        if torch.cuda.is_available():
            torch.cuda.set_device(_device(rank))
            backend = "cpu:gloo,cuda:nccl"
        distributed.init_process_group(
            backend, store=store, rank=rank, world_size=size, timeout=PATIENCE
        )
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"WORLD_SIZE is {n_launched()}, but the processes did not find each other "
            f"({str(error).splitlines()[0]}): launch them with torchrun or accelerate launch"
        ) from error
    return store


@functools.cache
def _place(*where: str) -> tuple[distributed.Store, int, int]:
    """Open the store at an address once: between two meetings the others may hold on to it already."""
    from torch.distributed.rendezvous import rendezvous  # which not every build of torch has

    return next(iter(rendezvous("env://", timeout=PATIENCE)))


def _device(rank: int) -> int:
    """Number the GPU of this process."""
    place, n_devices = int(os.environ.get("LOCAL_RANK", rank)), torch.cuda.device_count()
    if place >= n_devices:
        raise UserError(
            f"a process needs a GPU of its own and there are {n_devices}: launch {n_devices} "
            'processes, or hide the GPUs with CUDA_VISIBLE_DEVICES=""'
        )
    return place


def _is_first_to_tell(store: distributed.Store) -> bool:
    """Say whether this process is the first that has an error to tell."""
    try:
        return store.add("errors", 1) == 1
    except RuntimeError:  # the process that kept the store has ended, and told why
        return False


@contextmanager
def _silent(is_silent: bool) -> Generator[None]:
    """Let Python's output go nowhere."""
    if not is_silent:
        yield
        return
    with ExitStack() as stack:
        nowhere = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
        stack.enter_context(redirect_stdout(nowhere))
        stack.enter_context(redirect_stderr(nowhere))
        yield


@contextmanager
def _together() -> Generator[None]:
    """Say in one line that another process is gone, which torch reports as a broken connection."""
    try:
        yield
    except RuntimeError as error:
        raise Stopped(
            "another process of this training has ended, or cannot be reached; the same command "
            "goes on from the last checkpoint",
            reason="a lost process",
        ) from error
