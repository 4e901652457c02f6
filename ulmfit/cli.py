"""The program `ulmfit`: argv in, the same functions as in Python called, an exit code out.

0: done. 2: the input is wrong, said in one line on stderr. 1: a failure of ours, with traceback. 130: Ctrl-C.
Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from ulmfit.errors import UserError, nearest

# A verb and its line in --help; what it does is the function of that name in verbs.py, imported when it is called.
VERBS: dict[str, str] = {
    "prepare": "turn texts into a corpus: vocabulary, tokenizer and ids",
    "check": "say what is wrong with a data set before any training",
    "generate": "let a language model write",
    "convert": "turn weights of fastai and MultiFiT into a language model's folder, and back",
    "doctor": "look at this installation and this machine",
    "data": "list the registered data sets",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code."""
    try:
        return _run(sys.argv[1:] if argv is None else list(argv))
    except UserError as error:
        print(f"ulmfit: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("ulmfit: stopped by Ctrl-C; nothing half-written was kept", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


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
    try:
        getattr(importlib.import_module("ulmfit.verbs"), verb.replace("-", "_"))(rest)
    except SystemExit as stop:  # after the --help of a verb
        return int(stop.code or 0)
    sys.stdout.flush()
    return 0


def _help() -> str:
    wide = max(map(len, VERBS))
    verbs = "\n".join(f"  {verb:{wide}}  {line}" for verb, line in VERBS.items())
    return f"usage: ulmfit VERB ...\n\n{verbs}\n\nFlags of a verb: ulmfit VERB --help. Version: ulmfit --version."
