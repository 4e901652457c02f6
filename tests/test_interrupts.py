"""Requests to stop: the first signal asks, the second Ctrl-C does not; nothing is left changed behind the block."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

import pytest

from ulmfit.errors import Stopped, UserError
from ulmfit.training.interrupts import Interrupts

SIGNALS = (signal.SIGINT, signal.SIGTERM)
needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="os.kill ends the process there")


def send(number: int) -> None:
    """Send a signal to this process, and give Python the moment it needs to notice."""
    os.kill(os.getpid(), number)
    time.sleep(0.01)


@needs_signals
@pytest.mark.parametrize(
    ("number", "reason", "code"), [(signal.SIGINT, "Ctrl-C", 130), (signal.SIGTERM, "SIGTERM", 143)]
)
def test_a_signal_is_a_request(number: int, reason: str, code: int) -> None:
    before = [signal.getsignal(n) for n in SIGNALS]
    with Interrupts() as interrupts:
        assert interrupts.reason() == ""
        send(number)
        assert interrupts.reason() == reason
        assert interrupts.reason() == reason  # asking does not answer it
    assert Stopped("", reason=reason).exit_code == code == 128 + number
    assert [signal.getsignal(n) for n in SIGNALS] == before


@needs_signals
@pytest.mark.parametrize("first", SIGNALS)
def test_ctrl_c_after_a_request_interrupts_at_once(first: int) -> None:
    before = [signal.getsignal(n) for n in SIGNALS]
    with pytest.raises(KeyboardInterrupt), Interrupts():
        send(first)
        send(signal.SIGINT)
        time.sleep(5)
    assert [signal.getsignal(n) for n in SIGNALS] == before


@needs_signals
def test_a_scheduler_may_say_it_twice() -> None:
    with Interrupts(1e-9) as interrupts:
        send(signal.SIGTERM)
        send(signal.SIGTERM)
        assert interrupts.reason() == "SIGTERM"  # and not the time, which is over as well


@needs_signals
def test_a_block_can_be_entered_again() -> None:
    interrupts = Interrupts()
    with interrupts:
        send(signal.SIGINT)
    with interrupts:
        assert interrupts.reason() == ""
    with pytest.raises(KeyboardInterrupt):
        send(signal.SIGINT)


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts:
            assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
            signal.raise_signal(signal.SIGINT)
            assert interrupts.reason() == ""
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_handlers_come_back_after_an_error() -> None:
    before = [signal.getsignal(n) for n in SIGNALS]
    with pytest.raises(ZeroDivisionError), Interrupts():
        assert [signal.getsignal(n) for n in SIGNALS] != before
        raise ZeroDivisionError
    assert [signal.getsignal(n) for n in SIGNALS] == before


def test_another_thread_watches_the_time_alone() -> None:
    before = [signal.getsignal(n) for n in SIGNALS]
    seen: list[object] = []

    def train() -> None:
        with Interrupts(1e-9) as interrupts:
            seen.extend([interrupts.reason(), *(signal.getsignal(n) for n in SIGNALS)])

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert seen == ["--max-minutes", *before]


def test_the_time_counts_from_the_block_on(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("ulmfit.training.interrupts.time.monotonic", lambda: now)
    limited, unlimited = Interrupts(max_minutes=1.5), Interrupts()
    now = 1000.0
    with limited, unlimited:
        now += 89.0
        assert (limited.reason(), unlimited.reason()) == ("", "")
        now += 1.0
        assert (limited.reason(), unlimited.reason()) == ("--max-minutes", "")
    assert Stopped("", reason=limited.reason()).exit_code == 3


@pytest.mark.parametrize("minutes", [0, -1.0, float("nan")])
def test_a_limit_that_is_none_is_refused(minutes: float) -> None:
    with pytest.raises(UserError, match=r"--max-minutes is .*; allowed: above 0"):
        Interrupts(minutes)
