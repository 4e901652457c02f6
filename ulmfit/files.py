"""Folders that are either whole or absent, JSON, and content hashes: the base of every artefact on disk."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Generator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from ulmfit.errors import UserError

MANIFEST = "manifest.json"


@contextlib.contextmanager
def atomic_folder(out: str | Path, *, kind: str | None = None) -> Generator[Path]:
    """Yield a temporary sibling of `out` and rename it into place when the block ends without an error.

    An artefact of the same `kind` that stands at `out` is replaced; any other non-empty folder is refused.
    """
    out = Path(out)
    _refuse_others(out, kind)
    with _disk_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".part", dir=out.parent))
    try:
        with _disk_errors(out):
            yield part
            _replace_folder(part, out)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _refuse_others(out: Path, kind: str | None) -> None:
    """Refuse to replace what is not an artefact, or one of another kind: it may be days of training."""
    if out.is_file() or (out.is_dir() and not (out / MANIFEST).exists() and any(out.iterdir())):
        raise UserError(
            f"{out} exists and is not an artefact folder of ulmfit: choose another --out, or remove it"
        )
    if kind and (out / MANIFEST).exists():
        manifest = read_json(out / MANIFEST)
        found = manifest.get("kind") if isinstance(manifest, dict) else None
        if found != kind:
            raise UserError(
                f"{out} holds {found or 'something else'}, not a {kind}: choose another --out"
            )


def _replace_folder(part: Path, out: Path) -> None:
    """Rename `part` to `out`; what stood there before is moved aside first and deleted last."""
    part.chmod(0o755)  # mkdtemp makes it private
    old = out.with_name(f"{part.name}.old")
    if out.exists():
        out.rename(old)
    try:
        part.rename(out)
    except OSError:
        if old.exists():
            old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def _disk_errors(out: Path) -> Generator[None]:
    """Turn a full disk or a folder without write permission into one line."""
    try:
        yield
    except OSError as error:
        if error.errno is None or isinstance(error, FileNotFoundError):
            raise
        reason = os.strerror(error.errno)
        raise UserError(
            f"cannot write {out}: {reason}; free some space or choose another --out (nothing was kept)"
        ) from error


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Generator[Path]:
    """Yield a temporary sibling path of `path` and rename it into place when the block ends without an error."""
    path = Path(path)
    with _disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(handle)
        try:
            yield Path(name)
            os.replace(name, path)
        finally:
            Path(name).unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as readable UTF-8 JSON with a final newline."""
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read JSON, or say which file is missing or broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{path} is missing: {path.parent} is not a whole artefact folder"
        ) from None
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path} is not valid JSON ({error}): remove the folder and write it again"
        ) from None


def from_json(kind: Any, content: Mapping[str, Any]) -> Any:
    """Build a dataclass from JSON, whose lists stand for tuples; every field must be there and no other."""
    names = {field.name for field in fields(kind)}
    if names != set(content):
        raise KeyError(f"fields {' '.join(sorted(names ^ set(content)))}")
    return kind(**{name: tuple(v) if isinstance(v, list) else v for name, v in content.items()})


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
