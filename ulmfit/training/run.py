"""The working folder of a stage: `OUT.training` beside the artefact OUT, from the first step until OUT is written.

In: where the result shall lie, and the settings that make it. Out: a Run, held by one process at a time, that is
finished already, goes on, or begins; never one that mixes two settings.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from ulmfit.errors import UserError
from ulmfit.files import (
    MANIFEST,
    atomic_file,
    flush_to_disk,
    read_json,
    require_name,
    write_json,
)
from ulmfit.history import HISTORY
from ulmfit.training.distributed import total, wait, world
from ulmfit.unfinished import sweep

if TYPE_CHECKING:
    from ulmfit.text.corpus import Corpus

Settings = Mapping[str, Any]  # JSON: stage, fingerprints of the inputs, and config
_RENEWED = "renews what is finished"  # beside the settings of a restart, so that it can go on
CHECKPOINT, SETTINGS, LOCK = "checkpoint.safetensors", "settings.json", "lock"
_INPUTS = {"corpus": "another corpus", "parent": "another language model"}  # they have no flag


def settings_of(stage: str, corpus: Corpus, parent: str, config: Mapping[str, Any]) -> Settings:
    """Gather what a stage's result is made of; `parent` is the fingerprint of a language model, if there is one."""
    return {
        "stage": stage,
        "corpus": corpus.fingerprint,
        "parent": parent,
        "config": dict(config),
    }


@dataclass(frozen=True)
class Run:
    """A stage at work, or its finished result."""

    out: Path
    settings: Settings
    is_finished: bool = False
    """Whether `out` holds what these settings make."""

    @property
    def folder(self) -> Path:
        """Where the stage keeps what it can go on from."""
        return self.out.with_name(f"{self.out.name}.training")

    @property
    def checkpoint(self) -> Path:
        """The last moment that was saved."""
        return self.folder / CHECKPOINT

    @property
    def best(self) -> Path:
        """The weights of the best epoch, for early stopping."""
        return self.folder / "best.safetensors"

    @property
    def history(self) -> Path:
        """One row for each epoch so far."""
        return self.folder / HISTORY


@contextlib.contextmanager
def open_run(
    out: str | Path, *, settings: Settings, restart: bool = False
) -> Generator[Run, None, None]:
    """Hold the working folder of a stage until the block ends; refuse what other settings have made or begun.

    The folder is removed when the block ends well, and kept for the next time after an error. With `restart`
    an unfinished training is dropped, and what lies at `out` counts as not there until it is replaced.
    """
    require_name(Path(out))
    # Absolute, since a notebook may change its folder; through JSON, since tuples come back from it as lists.
    run = Run(Path(os.path.abspath(out)), json.loads(json.dumps(settings)))
    with _held(run, restart) if world().is_first else contextlib.nullcontext():
        wait()  # several processes train one model: the first prepares the folder for all
        # All decide at once: a slow one alone might see what the first has made in the meantime.
        is_finished = any(total([not restart and _is_made(run)]))
        run = replace(run, is_finished=is_finished)
        if not run.is_finished and not run.folder.is_dir():
            raise UserError(
                f"process {world().rank} does not see {run.folder}: choose an --out that all machines share"
            )
        yield run


@contextlib.contextmanager
def _held(run: Run, restart: bool) -> Generator[None, None, None]:
    """Lock the folder, bring it in order, and remove it in the end if nothing in it is of use any more."""
    _require_same(run, restart)
    if not restart and _is_made(run):
        _forget(run)
        yield
        return
    lock = _lock(run.folder)
    is_over = False
    try:
        _sweep(run)
        if restart:
            _empty(run.folder)
        _require_same(run, restart)  # again: it may have changed before the lock was ours
        if _begun_with(run.folder) is None:
            renews = restart and _made_with(run.out) is not None
            with atomic_file(run.folder / SETTINGS) as part:
                write_json(part, {**run.settings, **({_RENEWED: True} if renews else {})})
                flush_to_disk(part)
        yield
        is_over = True
    finally:
        if is_over or not _is_of_use(run.folder):
            _remove(run.folder, lock)
        lock.release()


def _lock(folder: Path) -> FileLock:
    """Take the folder for this process alone. The system lets go when the process dies, however it dies."""
    lock = FileLock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"another process trains in {folder}: wait for it or choose another --out"
        ) from None
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror}; choose another --out") from error
    return lock


def _is_made(run: Run) -> bool:
    """Say whether the result of these settings is there, and nobody has begun to make it anew."""
    made = _made_with(run.out)
    if made is None or _changes(made, run.settings):
        return False
    begun = _begun_with(run.folder)
    is_same = begun is not None and not _changes(begun, run.settings)
    return not (is_same and _RENEWED in read_json(run.folder / SETTINGS))


def _made_with(out: Path) -> Settings | None:
    """Read the settings of the artefact at `out`; None if nothing is there."""
    if not (out / MANIFEST).exists():
        if out.is_file() or (out.is_dir() and any(out.iterdir())):
            raise UserError(
                f"{out} exists and is not an artefact folder of ulmfit: choose another --out"
            )
        return None
    manifest = read_json(out / MANIFEST)
    config = manifest.get("config") if isinstance(manifest, dict) else None
    if not isinstance(config, dict) or "stage" not in config:
        raise UserError(f"{out} holds an artefact that no training made: choose another --out")
    return config


def _begun_with(folder: Path) -> Settings | None:
    """Read the settings of an unfinished training; None if there is none."""
    try:
        names = {path.name for path in folder.iterdir()}
    except (FileNotFoundError, NotADirectoryError):
        return None
    if SETTINGS not in names:
        if any(name != LOCK and not name.startswith(".") for name in names):
            raise UserError(
                f"{folder} is not a training of ulmfit, but has the name of one: rename it or choose another --out"
            )
        return None
    settings = read_json(folder / SETTINGS)
    if not isinstance(settings, dict):
        raise UserError(f"{folder / SETTINGS} holds no settings: remove {folder} to start over")
    return {name: value for name, value in settings.items() if name != _RENEWED}


def _require_same(run: Run, restart: bool) -> None:
    """Refuse a place where other settings have made or begun something, unless it shall start over.

    What another stage made is refused even then: it may be days of pretraining.
    """
    made, begun = _made_with(run.out), _begun_with(run.folder)
    for place, found in ((run.out, made), (run.folder, begun)):
        if found is not None and found.get("stage") != run.settings.get("stage"):
            raise UserError(
                f"{place} is of the stage {found.get('stage')}, not {run.settings.get('stage')}: choose another --out"
            )
    if restart or (made is not None and not _changes(made, run.settings)):
        return
    # An unfinished training counts first: it may be a restart, which was allowed to differ from what was made.
    place, found = (run.out, made) if begun is None else (run.folder, begun)
    changes = _changes(found, run.settings) if found is not None else []
    if changes:
        word = "made" if begun is None else "begun"
        raise UserError(
            f"{place} was {word} with other settings: {', '.join(changes)}; choose another --out, or --restart "
            "to begin anew with these"
        )


def _changes(before: Settings, now: Settings) -> list[str]:
    """List what differs; a setting that is not there is None."""
    old, new = _flat(before), _flat(now)
    return [
        _INPUTS.get(
            path,
            f"{path.split('.')[-1]} {_shown(new.get(path))} (was {_shown(old.get(path))})",
        )
        for path in old | new
        if old.get(path) != new.get(path)
    ]


def _flat(settings: Settings, prefix: str = "") -> dict[str, Any]:
    """Lay nested settings side by side, under names with dots."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        path = f"{prefix}{name}"
        flat |= _flat(value, f"{path}.") if isinstance(value, Mapping) else {path: value}
    return flat


def _shown(value: Any) -> str:
    """Write a value as on the command line."""
    return " ".join(map(str, value)) or "()" if isinstance(value, list) else str(value)


def _is_of_use(folder: Path) -> bool:
    """Say whether a training can go on from here: a checkpoint, or one of two directions that is done."""
    return any(any(folder.rglob(name)) for name in (CHECKPOINT, MANIFEST))


def _sweep(run: Run) -> None:
    """Delete what killed writers left behind; a result that was just being replaced comes back."""
    sweep(run.out)
    for path in run.folder.glob(".*"):
        _delete(path)


def _forget(run: Run) -> None:
    """Remove the folder of a finished run, which was killed before it could; others keep theirs."""
    begun = _begun_with(run.folder)
    if begun is not None and not _changes(begun, run.settings):
        with contextlib.suppress(UserError):
            _remove(run.folder, _lock(run.folder))


def _remove(folder: Path, lock: FileLock) -> None:
    """Remove the folder and let it go: the lock last, so that nobody takes over what is half removed."""
    with contextlib.suppress(OSError):
        _empty(folder)
        # Where no open file can be deleted: not ours now, nor another's afterwards.
        if os.name == "nt":
            lock.release()
        (folder / LOCK).unlink(missing_ok=True)
        folder.rmdir()
    lock.release()


def _empty(folder: Path) -> None:
    """Delete everything but the lock, the settings last: they say whose the rest is."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name == SETTINGS):
        if path.name != LOCK:
            _delete(path)


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
