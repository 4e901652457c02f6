"""Folders that are either whole or absent, JSON, and content hashes: the base of every artefact on disk."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import reprlib
import shutil
from collections.abc import Generator, Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, TextIO, Union, get_args, get_origin, get_type_hints

from ulmfit.errors import UserError
from ulmfit.unfinished import OLD, held_part

MANIFEST = "manifest.json"
CORPUS, CLASSIFIER = "corpus", "3_train_classifier"  # what a run's folder calls them
_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", None))  # Windows has no quotas of that name
_LIMIT_DEPTH, _LIMIT_INT = 50, 2**63


@contextlib.contextmanager
def atomic_folder(out: str | Path, *, kind: str | None = None) -> Generator[Path]:
    """Yield a temporary sibling of `out` and rename it into place when the block ends without an error.

    An artefact of the same `kind` that stands at `out` is replaced; any other non-empty folder is refused.
    """
    out = Path(out)
    require_name(out)
    _refuse_others(out, kind)
    with _disk_errors(out):
        _make_home(out)
        with held_part(out) as part:
            part.mkdir()
            yield part
            for path in part.rglob("*"):
                if path.is_file():
                    flush_to_disk(path)
            _replace_folder(part, out)


def require_name(out: Path) -> None:
    """Refuse the folder that one stands in: a result takes its place when it is whole."""
    if not out.name:
        raise UserError(f"--out is {out}, which has no name: give a folder below it, such as {out / 'result'}")  # fmt: skip


def _refuse_others(out: Path, kind: str | None) -> None:
    """Refuse to replace what is not an artefact, or one of another kind: it may be days of training."""
    if out.is_file() or (out.is_dir() and not (out / MANIFEST).exists() and any(out.iterdir())):
        raise UserError(
            f"{out} exists and is not an artefact folder of ulmfit: choose another --out, or remove it"
        )
    if kind and (out / MANIFEST).exists() and (found := kind_of(out)) != kind:
        raise UserError(
            f"{out} holds {found or 'something else'}, not a {kind}: choose another --out"
        )


def flush_to_disk(path: Path) -> None:
    """Wait until a file's content is on the disk: renamed before, it could be empty after a power cut."""
    mode = "r+b" if os.name == "nt" else "rb"  # Windows flushes only what could be written
    with open(path, mode) as file:
        os.fsync(file.fileno())


def _replace_folder(part: Path, out: Path) -> None:
    """Rename `part` to `out`; what stood there before is moved aside first and deleted last."""
    old = out.with_name(f"{part.name}{OLD}")
    if out.exists():
        out.rename(old)
    try:
        part.rename(out)
    except BaseException:  # Ctrl-C, too
        if old.exists() and not out.exists():
            old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _make_home(out: Path) -> None:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except FileNotFoundError:  # no such drive, or a folder that is no disk's
        raise UserError(f"cannot make the folder {out.parent}: choose another --out") from None


@contextlib.contextmanager
def _disk_errors(out: Path) -> Generator[None]:
    """Turn a full disk or a folder without write permission into one line."""
    try:
        yield
    except OSError as error:
        if error.errno is None or isinstance(error, FileNotFoundError):
            raise
        reason = os.strerror(error.errno)
        what = "free some space or choose" if error.errno in _FULL else "choose"
        raise UserError(
            f"cannot write {out}: {reason}; {what} another --out (nothing was kept)"
        ) from error


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Generator[Path]:
    """Yield a temporary sibling path of `path` and rename it into place when the block ends without an error."""
    path = Path(path)
    with _disk_errors(path):
        _make_home(path)
        with held_part(path) as part:
            part.touch()
            yield part
            os.replace(part, path)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as readable UTF-8 JSON with a final newline; escapes say what UTF-8 cannot."""
    text = json.dumps(value, ensure_ascii=False, indent=1) + "\n"
    try:
        path.write_text(text, encoding="utf-8")
    except UnicodeEncodeError:  # half a surrogate pair
        path.write_text(json.dumps(value, indent=1) + "\n", encoding="ascii")


def read_json(path: Path) -> Any:
    """Read JSON, or say which file is missing or broken."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        _require_shallow(value)
        return value
    except FileNotFoundError:
        _refuse_run(path.parent)
        raise UserError(
            f"{path} is missing: {path.parent} is not a whole artefact folder"
        ) from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path} is not valid JSON ({error}): remove the folder and write it again"
        ) from None


def _refuse_run(folder: Path) -> None:
    """Refuse the folder of a run, which has its artefacts in folders with a number."""
    if not (folder / MANIFEST).is_file() and any(folder.glob(f"[1-3]_*/{MANIFEST}")):
        inner = ", ".join(sorted(path.parent.name for path in folder.glob(f"*/{MANIFEST}")))
        raise UserError(f"{folder} is the folder of a run: give a folder in it ({inner})")


def in_run(folder: str | Path, name: str) -> Path:
    """Give what a run's folder has under this name; any other folder as it is."""
    folder = Path(folder)
    inner = folder / name
    return inner if not (folder / MANIFEST).exists() and (inner / MANIFEST).exists() else folder


def kind_of(folder: Path) -> str:
    """Read from a folder's manifest what artefact it is; empty where there is none, or it does not say."""
    manifest = folder / MANIFEST
    content = read_json(manifest) if manifest.is_file() else None
    return str(content.get("kind", "")) if isinstance(content, dict) else ""


def _require_shallow(value: Any) -> None:
    """Refuse what is nested so deeply that those who walk through it would run out of stack."""
    level = [value]
    for _ in range(_LIMIT_DEPTH):
        inner = (
            v.values() if isinstance(v, dict) else v for v in level if isinstance(v, dict | list)
        )
        level = [v for values in inner for v in values]
    if level:
        raise ValueError(f"nested more than {_LIMIT_DEPTH} deep")


def from_json(kind: Any, content: Any) -> Any:
    """Build a dataclass from JSON, whose lists stand for tuples; every field must be there and no other.

    A field that is missing or unknown is a KeyError, one of another type a TypeError.
    """
    if not isinstance(content, Mapping):
        raise TypeError(f"{reprlib.repr(content)} where fields are needed")
    hints = field_types(kind)
    if set(hints) != set(content):
        raise KeyError(f"fields {' '.join(sorted(set(hints) ^ set(content)))}")
    for name, value in content.items():
        if not fits(value, hints[name]):
            raise TypeError(f"{name} is {reprlib.repr(value)}")
    return kind(**{name: tuple(v) if isinstance(v, list) else v for name, v in content.items()})


@cache
def field_types(kind: Any) -> dict[str, Any]:
    """Name the type of each field of a dataclass."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def without_nan(value: Any) -> Any:
    """Replace what JSON cannot say, nan and infinity, by None, at any depth."""
    if isinstance(value, dict):
        return {key: without_nan(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def fits(value: Any, hint: Any) -> bool:
    """Tell whether a value, read from JSON or built from it already, is of a field's type."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(fits(value, option) for option in inner)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            return False
        kinds = inner[:1] * len(value) if inner[-1] is Ellipsis else inner
        return len(kinds) == len(value) and all(map(fits, value, kinds))
    if origin in (dict, Mapping):
        return isinstance(value, dict) and all(fits(v, inner[1]) for v in value.values())
    if hint in (int, float):
        is_number = isinstance(value, (int, hint)) and not isinstance(value, bool)
        return is_number and not (isinstance(value, int) and abs(value) > _LIMIT_INT)
    return hint is Any or isinstance(value, hint)


def fingerprint(value: Any) -> str:
    """Hash a JSON-able value by content, independent of key order."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def hash_file(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


class UnixLines:
    """A file whose lines end in a line feed. The csv module is told \\r\\n, without which it leaves \\r unquoted."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, line: str) -> None:
        """Write a line that ends in \\r\\n."""
        self._file.write(line.removesuffix("\r\n") + "\n")
