"""The lists of strings inside a pickle, which is how fastai keeps the vocabulary and the labels of a classifier.

Nothing is unpickled: `pickletools` only names the file's operations. They are followed on a stack where a string
is a string, a list is a list, and everything else, whatever class it says to be, is one and the same blank.
"""

from __future__ import annotations

import pickletools
from pathlib import Path

from ulmfit.errors import UserError

_LIMIT_BYTES = 64 << 20
_BLANK, _MARK = object(), object()
_PUTS = ("PUT", "BINPUT", "LONG_BINPUT")
_GETS = ("GET", "BINGET", "LONG_BINGET")


def read_string_lists(path: str | Path) -> list[list[str]]:
    """Find the lists that hold strings and nothing else, in the order in which they begin."""
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > _LIMIT_BYTES:
            raise UserError(f"{path} is too large for a vocabulary ({size / 1e6:.0f} MB)")
        found = _Skimmer().read(path.read_bytes())
    except OSError as error:
        raise UserError(f"cannot read the vocabulary {path}: {error.strerror}") from error
    except (ValueError, IndexError, KeyError, UnicodeError) as error:
        raise UserError(
            f"{path} is not a pickle that can be followed ({error}): write the vocabulary and the labels with "
            "pickle.dump([list(part) for part in learn.dls.vocab], file)"
        ) from error
    return [
        [item for item in part if isinstance(item, str)]
        for part in found
        if part and all(isinstance(item, str) for item in part)
    ]


class _Skimmer:
    """A stack machine that makes strings and lists, and blanks of all else."""

    def __init__(self) -> None:
        self._stack: list[object] = []
        self._memo: dict[int, object] = {}
        self._lists: list[list[object]] = []

    def read(self, content: bytes) -> list[list[object]]:
        """Follow the operations up to the end of the file."""
        for operation, argument, _ in pickletools.genops(content):
            self._step(operation, argument)
        return self._lists

    def _step(self, operation: pickletools.OpcodeInfo, argument: object) -> None:
        name = operation.name
        if isinstance(argument, str) and "UNICODE" in name:
            self._stack.append(argument)
        elif name in ("EMPTY_LIST", "LIST"):
            self._begin(self._marked() if name == "LIST" else [])
        elif name in ("APPENDS", "APPEND"):
            items = self._marked() if name == "APPENDS" else [self._stack.pop()]
            if isinstance(self._stack[-1], list):
                self._stack[-1] += items
        elif name == "MARK":
            self._stack.append(_MARK)
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = self._stack[-1]
        elif name in _PUTS and isinstance(argument, int):
            self._memo[argument] = self._stack[-1]
        elif name in _GETS and isinstance(argument, int):
            self._stack.append(self._memo[argument])
        else:
            self._pass_over(operation)

    def _begin(self, items: list[object]) -> None:
        self._lists.append(items)
        self._stack.append(items)

    def _pass_over(self, operation: pickletools.OpcodeInfo) -> None:
        """Take from the stack what the operation takes, and put blanks for what it leaves."""
        taken = operation.stack_before
        if pickletools.markobject in taken:
            self._marked()
            taken = taken[: taken.index(pickletools.markobject)]
        for _ in taken:
            self._stack.pop()
        self._stack += [_BLANK] * len(operation.stack_after)

    def _marked(self) -> list[object]:
        """Pop what stands above the last mark, and the mark."""
        items = []
        while (item := self._stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]
