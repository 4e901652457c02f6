"""Progress on stderr: a bar on a terminal, a line every so often elsewhere.

In: how much is done, of how much. Out: nothing that a program would want to read.
"""

from __future__ import annotations

import sys
import time
from typing import TextIO

_SECONDS_PER_FRAME = 0.1
_SECONDS_PER_LINE = 30.0
_WIDTH = 24


class Progress:
    """A callable `progress(stage, done, total)`; `total` is 0 where nobody knows it."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._is_terminal = self._stream.isatty()
        self._pause = _SECONDS_PER_FRAME if self._is_terminal else _SECONDS_PER_LINE
        self._shown_at = time.monotonic()
        self._has_bar = False

    def __call__(self, stage: str, done: int, total: int = 0) -> None:
        """Show how far a stage is, unless something was shown a moment ago."""
        now = time.monotonic()
        if now - self._shown_at < self._pause:
            return
        self._shown_at = now
        if self._is_terminal:
            self._stream.write(f"\r\x1b[K{_bar(stage, done, total)}")
            self._has_bar = True
        else:
            self._stream.write(_bar(stage, done, total, width=0) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Wipe the bar."""
        if self._has_bar:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._has_bar = False


def _bar(stage: str, done: int, total: int, width: int = _WIDTH) -> str:
    if total <= 0:
        return f"{stage}: {done:,}"
    share = min(1.0, done / total)
    full = round(share * width)
    drawn = f"[{'=' * full}{' ' * (width - full)}] " if width else ""
    return f"{stage}: {drawn}{done:,} of {total:,} ({share:.0%})"
