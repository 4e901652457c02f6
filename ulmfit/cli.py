"""The program `ulmfit`: argv in, the same functions as in Python called, an exit code out.

0: done. 2: the input is wrong, said in one line on stderr. 1: a failure of ours, with traceback. A training that
was stopped and can go on: 130 by Ctrl-C, 143 by SIGTERM, 3 by --max-minutes. Results go to stdout, all else to stderr.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import FrameType
from typing import NamedTuple

from ulmfit.errors import Stopped, UserError, nearest


class Verb(NamedTuple):
    """A line in --help, and the module that has the function, imported when it is called."""

    line: str
    home: str = "verbs"
    in_company: bool = False
    """Whether several processes, launched together, do it together."""


# The function of a verb has its name, with _ for -.
VERBS: dict[str, Verb] = {
    "prepare": Verb("turn texts into a corpus: vocabulary, tokenizer and ids"),
    "check": Verb("say what is wrong with a data set before any training"),
    "pretrain-lm": Verb("stage 1: train a language model from random weights", "stage_verbs", True),
    "finetune-lm": Verb(
        "stage 2: let a language model learn the target texts", "stage_verbs", True
    ),
    "train-classifier": Verb("stage 3: turn it into a classifier of labels", "stage_verbs"),
    "fit": Verb("all stages: from texts and labels to a classifier", "stage_verbs"),
    "reproduce": Verb(
        "a data set from raw text to results beside published ones", "reproduce_verb"
    ),
    "predict": Verb("let a classifier answer for the texts of a file", "predict_verb"),
    "evaluate": Verb("measure a model, and set a classifier beside baselines", "evaluate_verb"),
    "report": Verb("draw the report of an evaluation again", "evaluate_verb"),
    "explain": Verb("show which words of a text speak for a label", "explain_verb"),
    "generate": Verb("let a language model write"),
    "convert": Verb("turn weights of fastai and MultiFiT into a language model's folder, and back"),
    "recipe": Verb("show what a preset sets, or in what two differ", "recipe_verb"),
    "doctor": Verb("look at this installation and this machine"),
    "data": Verb("list the registered data sets"),
    "exercises": Verb("show which exercises of the course are done", "exercises_verb"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code."""
    _open_what_is_closed()
    try:
        with _terminable(), _one_voice():
            return _run(sys.argv[1:] if argv is None else list(argv))
    except UserError as error:
        print(f"ulmfit: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except Stopped as stop:
        said = " ".join(str(stop).split())
        if "--restart" in (sys.argv[1:] if argv is None else argv):  # which would begin once more
            said = said.replace("the same command", "the same command without --restart")
        print(f"ulmfit: {said}", file=sys.stderr)
        return stop.exit_code
    except KeyboardInterrupt as stop:
        name, code = ("SIGTERM", 143) if isinstance(stop, _Terminated) else ("Ctrl-C", 130)
        print(f"ulmfit: stopped by {name}; nothing half-written was kept", file=sys.stderr)
        return code
    except BrokenPipeError:  # the reader of our output, such as head, has seen enough
        _drop_output()
        return 0
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _drop_output()
        place = error.filename or "the output"
        print(f"ulmfit: cannot write {place}: {error.strerror}; free some space", file=sys.stderr)
        return 2


def _drop_output() -> None:
    """Let what is still to be printed go nowhere, so that nothing fails when the program ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def function_of(verb: str) -> Callable[[Sequence[str]], None]:
    """Import the function of a verb."""
    home = importlib.import_module(f"ulmfit.{VERBS[verb].home}")
    return getattr(home, verb.replace("-", "_"))


class _Terminated(KeyboardInterrupt):
    """Say that it was SIGTERM, from a scheduler perhaps; what is half-written is cleared away as after Ctrl-C."""


@contextlib.contextmanager
def _terminable() -> Generator[None]:
    """Let SIGTERM end a verb as Ctrl-C does; a training takes both over while it lasts."""

    def terminate(number: int, frame: FrameType | None) -> None:
        raise _Terminated

    is_default = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if not is_default or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _one_voice() -> AbstractContextManager[object]:
    """Let processes that were launched together speak as one."""
    if not _is_in_company():  # a program alone need not import what it takes
        return nullcontext()
    from ulmfit.training.distributed import one_voice

    return one_voice()


def _open_what_is_closed() -> None:
    """Let a standard stream that the caller closed, which Python has as None, lead nowhere."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


def _is_in_company() -> bool:
    """Say whether a launcher such as torchrun has started several of us."""
    return "RANK" in os.environ and os.environ.get("WORLD_SIZE", "1") != "1"


def _run(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    if argv[0] in ("-V", "--version"):
        from ulmfit import __version__

        print(f"ulmfit {__version__}")
        return 0
    verb, *rest = argv
    if verb not in VERBS:
        raise UserError(f"no verb {verb!r}: {nearest(verb, VERBS)} (see ulmfit --help)")
    if _is_in_company() and not VERBS[verb].in_company:
        raise UserError(f"{verb} is the work of one process: start it without a launcher")
    try:
        function_of(verb)(rest)
    except SystemExit as stop:  # after the --help of a verb
        return int(stop.code or 0)
    sys.stdout.flush()
    return 0


def _help() -> str:
    wide = max(map(len, VERBS))
    verbs = "\n".join(f"  {verb:{wide}}  {entry.line}" for verb, entry in VERBS.items())
    return f"usage: ulmfit VERB ...\n\n{verbs}\n\nFlags of a verb: ulmfit VERB --help. Version: ulmfit --version."
