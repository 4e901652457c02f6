"""The place beside a result where it is written first, held by a lock, and cleared away if its writer was killed.

In: where the result shall lie. Out: a hidden path beside it that nobody else writes to.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import BaseFileLock

_TRIES = 100  # names, each of which a sweeper may hold for a moment; where no lock can be made, none will do
LOCK, OLD = ".lock", ".old"  # what follows the name of a place: its lock, and the result before


@contextlib.contextmanager
def held_part(out: Path) -> Generator[Path]:
    """Yield a path on the disk of `out`, and remove what still stands there when the block ends."""
    sweep(out)
    part, lock = _claim(out)
    try:
        yield part
    finally:
        _delete(part)
        _let_go(lock)


def sweep(out: Path) -> None:
    """Remove what killed writers of `out` left; a result that was just being replaced comes back."""
    from filelock import FileLock, Timeout

    with contextlib.suppress(OSError):  # there is nothing yet, or nothing to be seen
        ours = parts_of(out)
        beside = [path for path in out.parent.iterdir() if ours.fullmatch(path.name)]
        for path in [p for p in beside if p.suffix == LOCK]:
            lock = FileLock(path)
            with contextlib.suppress(Timeout, OSError):  # somebody writes there, or has just swept
                lock.acquire(timeout=0)
                _clear(path.with_suffix(""), out)
                _let_go(lock)


def parts_of(out: Path) -> re.Pattern[str]:
    """Match the names of what writers of `out` put beside it."""
    return re.compile(rf"\.{re.escape(out.name)}\.[a-z0-9_]{{8}}\.part(\{OLD}|\{LOCK})?")


def _claim(out: Path) -> tuple[Path, BaseFileLock]:
    """Find a free name, and lock it before anything stands under it: no moment is without a mark."""
    from filelock import FileLock, Timeout

    for _ in range(_TRIES):
        part = out.with_name(f".{out.name}.{secrets.token_hex(4)}.part")
        lock = FileLock(f"{part}{LOCK}")
        with contextlib.suppress(Timeout):
            lock.acquire(timeout=0)
            if Path(lock.lock_file).exists():
                return part, lock
            lock.release()  # swept between its making and our hold
    raise PermissionError(errno.EACCES, "no file can be made here", str(out.parent))


def _clear(part: Path, out: Path) -> None:
    old = part.with_name(f"{part.name}{OLD}")
    if old.exists() and not out.exists():
        old.rename(out)
    _delete(part)
    _delete(old)


def _let_go(lock: BaseFileLock) -> None:
    """Remove the lock's file while it is ours; Windows deletes no open file."""
    if os.name == "nt":
        lock.release()
    with contextlib.suppress(OSError):
        Path(lock.lock_file).unlink(missing_ok=True)
    lock.release()


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
