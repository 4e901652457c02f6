"""What a student has done so far: a small JSON file in the user's cache folder, or where $ULMFIT_EXERCISES says.

A file that cannot be read is as good as none, and one that cannot be written is no reason to stop learning.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ulmfit.errors import UserError
from ulmfit.files import atomic_file, read_json, write_json


@dataclass(frozen=True)
class Record:
    """Exercises that were passed, and questions that were answered."""

    passed: tuple[str, ...] = ()
    answered: Mapping[str, bool] = field(default_factory=dict)
    """Whether the latest answer to a question was right."""

    def with_exercise(self, name: str) -> Record:
        """Return the record after an exercise was passed."""
        return Record(tuple(sorted({*self.passed, name})), self.answered)

    def with_question(self, name: str, *, is_right: bool) -> Record:
        """Return the record after a question was answered."""
        return Record(self.passed, {**self.answered, name: is_right})


def record_file() -> Path | None:
    """Return the file: `ULMFIT_EXERCISES`, else one in the user's cache folder; None if that is set to `off`."""
    named = os.environ.get("ULMFIT_EXERCISES")
    if named is None:
        import pooch

        return Path(pooch.os_cache("ulmfit")) / "exercises.json"
    return None if named in ("", "off") else Path(named).expanduser()


def load_record() -> Record:
    """Read what was done; nothing if the file is missing, damaged or something else."""
    path = record_file()
    if path is None:
        return Record()
    try:
        content = read_json(path)
        passed, answered = content["passed"], content["answered"]
        names = tuple(name for name in passed if isinstance(name, str))
        return Record(names, {name: bool(is_right) for name, is_right in answered.items()})
    except (UserError, OSError, KeyError, TypeError, AttributeError):
        return Record()


def save_record(record: Record) -> None:
    """Write what was done, whole or not at all."""
    path = record_file()
    if path is not None:
        with contextlib.suppress(UserError, OSError), atomic_file(path) as part:
            write_json(part, asdict(record))


def forget() -> None:
    """Begin anew."""
    path = record_file()
    if path is not None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(f"cannot remove {path}: {os.strerror(error.errno or 0)}") from error
