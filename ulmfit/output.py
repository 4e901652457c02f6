"""What verbs say: results on stdout, everything else on stderr."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

from ulmfit.files import MANIFEST


def say(line: str) -> None:
    """Tell the person at the terminal something that is not the result."""
    print(line, file=sys.stderr)


def print_result(result: Any) -> None:
    """Print text as it is, and anything else as JSON, in UTF-8 whatever the console's encoding."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="replace")
    print(result if isinstance(result, str) else json.dumps(result, ensure_ascii=False, indent=1))


def written_at(folder: Path) -> int | None:
    """Tell when an artefact was written; None if it is not there."""
    manifest = folder / MANIFEST
    return manifest.stat().st_mtime_ns if manifest.is_file() else None


def say_written(folder: Path, *, before: int | None) -> None:
    """Tell whether the artefact is another one than `before`, a moment that `written_at` gave."""
    is_new = written_at(folder) != before
    say(f"{'wrote' if is_new else 'up to date:'} {folder}")


def table(rows: list[tuple[str, ...]]) -> str:
    """Align the columns of rows."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
