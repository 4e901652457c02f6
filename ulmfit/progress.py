"""Progress on stderr: a live line on a terminal, a line every so often, or every epoch, elsewhere.

In: how much is done, of how much. Out: nothing that a program would want to read.
"""

from __future__ import annotations

import math
import shutil
import sys
import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from ulmfit.history import EpochRow, TrainingProgress

_SECONDS_PER_FRAME = 0.1
_SECONDS_PER_LINE = 30.0
_WIDTH = 24


class _LiveLine:
    """The last line of a terminal, written over and over; nothing anywhere else."""

    def __init__(self, stream: TextIO | None) -> None:
        self.stream = sys.stderr if stream is None else stream
        self.is_terminal = self.stream.isatty()
        self._is_drawn = False

    def draw(self, line: str) -> None:
        """Replace the line, cut where the terminal would break it."""
        wide = shutil.get_terminal_size().columns - 1
        self.stream.write(f"\r\x1b[K{line[:wide]}")
        self.stream.flush()
        self._is_drawn = True

    def say(self, line: str) -> None:
        """Write a line that stays, in the place of the live one."""
        self.wipe()
        self.stream.write(line + "\n")
        self.stream.flush()

    def wipe(self) -> None:
        """Take the line away, if there is one."""
        if self._is_drawn:
            self.stream.write("\r\x1b[K")
            self.stream.flush()
            self._is_drawn = False


class Progress:
    """A callable `progress(stage, done, total)`; `total` is 0 where nobody knows it."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._line = _LiveLine(stream)
        self._pause = _SECONDS_PER_FRAME if self._line.is_terminal else _SECONDS_PER_LINE
        self._shown_at = time.monotonic()

    def __call__(self, stage: str, done: int, total: int = 0) -> None:
        """Show how far a stage is, unless something was shown a moment ago."""
        now = time.monotonic()
        if now - self._shown_at < self._pause:
            return
        self._shown_at = now
        if self._line.is_terminal:
            self._line.draw(_bar(stage, done, total))
        else:
            self._line.say(_bar(stage, done, total, width=0))

    def close(self) -> None:
        """Wipe the bar."""
        self._line.wipe()


class StageProgress:
    """A listener of a training stage: each finished epoch and each notice is a line, what is between them a live one."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._line = _LiveLine(stream)
        self._shown_at = -math.inf
        self._notices: set[str] = set()
        self._live: dict[str, str] = {}  # by direction: two may train side by side

    def __call__(self, progress: TrainingProgress) -> None:
        """Show what has happened."""
        if progress.notice and progress.notice not in self._notices:
            self._notices.add(progress.notice)
            self._line.say(progress.notice)
        if progress.epoch_row:
            self._live.pop(progress.direction, None)
            self._line.say(f"{_title(progress)}, {_epoch(progress.epoch_row)}")
        elif self._line.is_terminal and not progress.notice:
            now = time.monotonic()
            self._live[progress.direction] = f"{_title(progress)} {_batches(progress)}"
            if now - self._shown_at >= _SECONDS_PER_FRAME:
                self._shown_at = now
                self._line.draw(" | ".join(self._live.values()))

    def close(self) -> None:
        """Wipe the live line."""
        self._line.wipe()


def _bar(stage: str, done: int, total: int, width: int = _WIDTH) -> str:
    if total <= 0:
        return f"{stage}: {done:,}"
    share = min(1.0, done / total)
    drawn = f"{_drawn(share, width)} " if width else ""
    return f"{stage}: {drawn}{done:,} of {total:,} ({share:.0%})"


def _drawn(share: float, width: int) -> str:
    full = round(share * width)
    return f"[{'=' * full}{' ' * (width - full)}]"


def _title(progress: TrainingProgress) -> str:
    stage = progress.stage.replace("_", "-")
    return f"{stage} {progress.direction}: epoch {progress.epoch}/{progress.n_epochs}"


def _batches(progress: TrainingProgress) -> str:
    """Say how far an epoch is, and how long all of them will take."""
    bar = _drawn(min(1.0, progress.batch / max(1, progress.n_batches)), _WIDTH // 2)
    return (
        f"{bar} {progress.batch:,} of {progress.n_batches:,}, loss {progress.loss:.3f}, "
        f"{progress.tokens_per_second:,.0f} tokens/s, {duration(progress.seconds_left)} left"
    )


def _epoch(row: EpochRow) -> str:
    """Sum an epoch up; what was not measured is left out."""
    measured = {
        f"train loss {row.train_loss:.3f}": row.train_loss,
        f"valid loss {row.valid_loss:.3f}": row.valid_loss,
        f"perplexity {_plain(row.perplexity)}": row.perplexity,
        f"accuracy {row.accuracy:.4f}": row.accuracy,
    }
    shown = [text for text, value in measured.items() if not math.isnan(value)]
    took = f"{row.seconds / 60:.1f} min" if row.seconds >= 60 else f"{row.seconds:.0f} s"
    return ", ".join([*shown, f"{row.tokens_per_second:,.0f} tokens/s", took])


def _plain(number: float) -> str:
    """Write a number in digits, but for one that nobody could read in them."""
    return f"{number:,.1f}" if number < 1e6 else f"{number:.1e}"


def duration(seconds: float) -> str:
    """Write a time in the unit that a person would choose."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
