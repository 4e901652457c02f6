"""Reasons to stop a training between two steps: Ctrl-C, SIGTERM and the limit of time.

In: signals of the process and its clock. Out: the reason in one word, asked for when stopping costs nothing.
"""

from __future__ import annotations

import contextlib
import math
import signal
import time
from types import FrameType, TracebackType
from typing import Any

from ulmfit.config import require

_NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}
SIGNALS = tuple(_NAMES.values())
LATE = "--max-minutes"
REASONS = (*SIGNALS, LATE)


class Interrupts:
    """Turn the first Ctrl-C or SIGTERM inside a `with` block into a request; a second Ctrl-C interrupts at once.

    Outside the main thread, where Python allows no handlers, only the time is watched.
    """

    def __init__(self, max_minutes: float | None = None) -> None:
        is_allowed = max_minutes is None or max_minutes > 0
        require(is_allowed, "max_minutes", max_minutes, "above 0")
        self._seconds = math.inf if max_minutes is None else 60 * max_minutes
        self._began_at = time.monotonic()
        self._request = ""
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupts:
        self._began_at, self._request = time.monotonic(), ""
        for number in _NAMES:
            before = signal.getsignal(number)
            # What is ignored (a job in the background) stays so; None is a handler that is not Python's.
            if before not in (None, signal.SIG_IGN):
                with contextlib.suppress(ValueError):  # not the main thread
                    signal.signal(number, self._remember)
                    self._before[number] = before
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while self._before:
            signal.signal(*self._before.popitem())

    def reason(self) -> str:
        """Name the reason to stop: Ctrl-C, SIGTERM or --max-minutes; "" if there is none."""
        is_late = time.monotonic() - self._began_at >= self._seconds
        return self._request or (LATE if is_late else "")

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self._request and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._request = _NAMES[signal.Signals(number)]
