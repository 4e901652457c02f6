"""What two processes do together in test_distributed.py: `python company.py SCENE RESULT` in each of them.

Each writes what it has seen as JSON. It can be started by anything that says through the environment
who is who: `launch` here, or torchrun.
"""

from __future__ import annotations

import faulthandler
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SIZE = 2


def environment(rank: int, port: int) -> dict[str, str]:
    """Say to one process what a launcher would, and that one thread is enough."""
    who = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": SIZE, "MASTER_PORT": port}
    root = str(Path(__file__).parents[1])
    return (
        os.environ
        | {name: str(value) for name, value in who.items()}
        | {"MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1", "PYTHONPATH": root}
    )


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def start(*arguments: object) -> list[subprocess.Popen[str]]:
    """Start Python with the same arguments in two processes that know of each other."""
    port, command = free_port(), [sys.executable, *map(str, arguments)]
    return [
        subprocess.Popen(
            command,
            env=environment(rank, port),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(SIZE)
    ]


def finish(processes: list[subprocess.Popen[str]], *, seconds: float = 90) -> list[tuple[int, str]]:
    """Wait for both, and give the exit code and the stderr of each."""
    try:
        ends = [process.communicate(timeout=seconds)[1] for process in processes]
    finally:
        kill(processes)
    return [(process.returncode, err) for process, err in zip(processes, ends)]


def kill(processes: list[subprocess.Popen[str]]) -> None:
    """End both as suddenly as can be."""
    for process in processes:
        process.kill()
        process.wait()


def arithmetic() -> dict[str, Any]:
    """Add, collect and average what differs between the processes."""
    import torch

    from ulmfit.training.distributed import LARGE, average, equalise, gathered, joined, total, world

    with joined() as group:
        torch.manual_seed(group.rank)
        layer = torch.nn.Linear(2, 2)
        equalise(layer)
        mean = [
            torch.full((LARGE,), 1.0 + group.rank),
            torch.arange(6.0).view(2, 3).t() * (1 + group.rank),  # not contiguous
            torch.tensor(4.0 * group.rank),
        ]
        average(mean)
        alone = [torch.full((LARGE,), 1.0 + group.rank)]
        average(alone)
        average([])
        kinds = (torch.bfloat16, torch.bool, torch.int64, torch.uint8)
        parts = {str(kind): gathered(torch.tensor([group.rank, 1]).to(kind)) for kind in kinds}
        with joined() as same:
            is_same = same == group
        found = {
            "sum": total([group.rank + 1, 0.1]),
            "layer": layer.weight.flatten().tolist(),
            "mean": [mean[0].unique().tolist(), mean[1].tolist(), mean[2].item()],
            "alone": alone[0].unique().tolist(),
            "gathered": {kind: [p.tolist() for p in part] for kind, part in parts.items()},
            "scalar": [p.item() for p in gathered(torch.tensor(0.5 + group.rank))],
            "joined again": is_same,
        }
        if group.is_first:
            time.sleep(1)  # the other one is at the second meeting before
    with joined():
        found["second meeting"] = total([1.0])
    return found | {"rank": group.rank, "afterwards": world().size}


def errors() -> dict[str, Any]:
    """Fail together, alone, and by dying."""
    from ulmfit.errors import UserError
    from ulmfit.training.distributed import wait

    def together(rank: int) -> None:
        wait()
        raise UserError("--lr is wrong")

    def alone(rank: int) -> None:
        if rank == 1:
            raise UserError("only here")
        wait()

    def dead(rank: int) -> None:
        wait()
        if rank == 1:
            os._exit(9)
        wait()

    found = {"together": outcome(together), "alone": outcome(alone)}
    report(sys.argv[2], found)  # one of us will not be able to afterwards
    return found | {"dead": outcome(dead)}


def outcome(act: Callable[[int], None]) -> dict[str, Any]:
    """Say how an act with one voice ends, and after how long."""
    from ulmfit.training.distributed import one_voice

    began = time.monotonic()
    try:
        with one_voice() as group:
            print("said on stdout")
            print("said on stderr", file=sys.stderr)
            act(group.rank)
    except (Exception, SystemExit) as error:
        words = {"error": type(error).__name__, "words": str(error)}
        return words | {"seconds": time.monotonic() - began}
    return {}


def train(corpus: str, out: str, settings: str) -> None:
    """Pretrain a small model, with a checkpoint after every step."""
    import ulmfit
    from ulmfit.models.arch import ArchConfig
    from ulmfit.training import resume
    from ulmfit.training.config import PretrainConfig

    resume.MINUTES = 0.0
    content = json.loads(settings)
    config = PretrainConfig(**{**content, "arch": ArchConfig(**content["arch"])})
    ulmfit.pretrain_lm(corpus, out, config=config, progress=lambda _: None)


def report(place: str, found: dict[str, Any]) -> None:
    """Write what this process has seen."""
    Path(f"{place}.{os.environ['RANK']}").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    faulthandler.dump_traceback_later(80, exit=True)  # who hangs says where
    scene, *rest = sys.argv[1:]
    if scene == "train":
        train(*rest)
    else:
        report(rest[0], {"arithmetic": arithmetic, "errors": errors}[scene]())
