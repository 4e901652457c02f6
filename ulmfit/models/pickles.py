"""A pickled list of strings, which is how fastai keeps a vocabulary: read and written without unpickling.

The reader knows the twenty operations such a file consists of and stops at any other byte before it has read
what belongs to it. Nothing in the file can therefore name, import, build or call anything.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

from ulmfit.errors import UserError
from ulmfit.files import atomic_file

_LIMIT_BYTES = 64 << 20  # a vocabulary of 60,000 words takes one
_LIMIT_ITEMS = 4_000_000
_MARK = object()
_LENGTHS = {b"\x8c": "<B", b"X": "<I", b"\x8d": "<Q"}  # strings, by the size of their length
_TUPLES = {b"\x85": 1, b"\x86": 2, b"\x87": 3}
_GETS = {b"h": "<B", b"j": "<I"}
_PUTS = {b"q": "<B", b"r": "<I"}


class _Refused(Exception):
    """Say what in the file is not part of a list of strings."""


def read_strings(path: str | Path) -> list[str]:
    """Read a pickled list or tuple of strings; anything else is refused, unexecuted."""
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > _LIMIT_BYTES:
            raise _Refused(f"{size / 1e6:.0f} MB")
        return _Reader(path.read_bytes()).read()
    except OSError as error:
        raise UserError(f"cannot read the vocabulary {path}: {error.strerror}") from error
    except _Refused as refusal:
        raise UserError(
            f"{path} is not a pickled list of strings ({refusal}): it is refused unopened; "
            "write the tokens alone with pickle.dump(list(vocab), file), or as a JSON list"
        ) from None


def write_strings(path: str | Path, strings: Iterable[str]) -> Path:
    """Write a list of strings as a pickle (protocol 2) that fastai opens."""
    parts = [b"\x80\x02]("]
    for string in strings:
        encoded = string.encode("utf-8", "surrogatepass")  # as pickle does
        parts += [b"X", struct.pack("<I", len(encoded)), encoded]
    with atomic_file(path) as part:
        part.write_bytes(b"".join([*parts, b"e."]))
    return Path(path)


class _Reader:
    """A stack machine that can make one list or one tuple of strings, and nothing more."""

    def __init__(self, data: bytes) -> None:
        self._data, self._position = data, 0
        self._stack: list[object] = []
        self._memo: dict[int, object] = {}
        self._n_containers = 0

    def read(self) -> list[str]:
        """Go through the file up to its end."""
        while (operation := self._take(1)) != b".":
            self._step(operation)
            if len(self._stack) > _LIMIT_ITEMS or len(self._memo) > _LIMIT_ITEMS:
                raise _Refused(f"more than {_LIMIT_ITEMS:,} entries")
        if len(self._stack) != 1 or not isinstance(self._stack[0], list | tuple):
            raise _Refused("it holds something else")
        return [*self._stack[0]]

    def _step(self, operation: bytes) -> None:
        if operation in _LENGTHS:
            self._stack.append(self._decoded(self._take(self._number(_LENGTHS[operation])), "utf8"))
        elif operation == b"V":
            self._stack.append(self._decoded(self._line(), "raw-unicode-escape"))
        elif operation in (b"]", b")"):
            self._push([] if operation == b"]" else ())
        elif operation == b"(":
            if _MARK in self._stack[:2]:  # one list needs one mark at a time
                raise _Refused("nested values")
            self._stack.append(_MARK)
        elif operation == b"l":
            self._push(self._marked())
        elif operation == b"t":
            self._push(tuple(self._marked()))
        elif operation in _TUPLES:
            self._push(tuple(self._strings(len(self._stack) - _TUPLES[operation])))
        elif operation == b"e":
            self._extend(self._marked())
        elif operation == b"a":
            self._extend(self._strings(len(self._stack) - 1))
        else:
            self._bookkeeping(operation)

    def _bookkeeping(self, operation: bytes) -> None:
        """Remember, recall and skip: what concerns the file and not the value."""
        if operation == b"\x80":
            self._take(1)
        elif operation == b"\x95":
            self._take(8)
        elif operation in _GETS or operation == b"g":
            key = self._number(_GETS[operation]) if operation in _GETS else self._digits()
            if not isinstance(self._memo.get(key), str):  # only a string may stand in two places
                raise _Refused("values that refer to each other")
            self._stack.append(self._memo[key])
        elif operation in (*_PUTS, b"p", b"\x94"):
            if operation == b"\x94":
                key = len(self._memo)
            else:
                key = self._number(_PUTS[operation]) if operation in _PUTS else self._digits()
            self._memo[key] = self._top()
        else:
            at = self._position - 1
            raise _Refused(f"operation {operation!r} at byte {at} has no place in one")

    def _push(self, container: list[str] | tuple[str, ...]) -> None:
        self._n_containers += 1
        if self._n_containers > 1:
            raise _Refused("more than one list")
        self._stack.append(container)

    def _extend(self, strings: list[str]) -> None:
        top = self._top()
        if not isinstance(top, list):
            raise _Refused("an entry without a list")
        if len(top) + len(strings) > _LIMIT_ITEMS:
            raise _Refused(f"more than {_LIMIT_ITEMS:,} entries")
        top += strings

    def _marked(self) -> list[str]:
        """Pop the strings above the mark, and the mark."""
        start = next((i for i in (0, 1) if self._stack[i : i + 1] == [_MARK]), None)
        if start is None:
            raise _Refused("a list without a beginning")
        strings = self._strings(start + 1)
        self._stack.pop()
        return strings

    def _strings(self, start: int) -> list[str]:
        """Pop everything from `start` on; it has to be strings."""
        popped = self._stack[start:] if start >= 0 else [None]
        strings = [value for value in popped if isinstance(value, str)]
        if len(strings) != len(popped):
            raise _Refused("entries that are not strings")
        del self._stack[start:]
        return strings

    def _top(self) -> object:
        if not self._stack or self._stack[-1] is _MARK:
            raise _Refused("it is damaged")
        return self._stack[-1]

    def _take(self, n: int) -> bytes:
        taken = self._data[self._position : self._position + n]
        if len(taken) < n:
            raise _Refused("it is cut off")
        self._position += n
        return taken

    def _number(self, form: str) -> int:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _line(self) -> bytes:
        end = self._data.find(b"\n", self._position)
        if end < 0:
            raise _Refused("it is cut off")
        return self._take(end + 1 - self._position)[:-1]

    def _digits(self) -> int:
        line = self._line()
        if not line.isdigit() or len(line) > 9:
            raise _Refused("it is damaged")
        return int(line)

    def _decoded(self, raw: bytes, encoding: str) -> str:
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            raise _Refused("text that is not Unicode") from None
