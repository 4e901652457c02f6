"""The vocabulary reader against pickle itself on honest files, and against hostile ones."""

from __future__ import annotations

import collections
import contextlib
import os
import pickle
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulmfit.errors import UserError
from ulmfit.models import pickles
from ulmfit.models.pickles import read_strings, write_strings

STRINGS = st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=40)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pickles") / "vocab.pkl"


@given(STRINGS, st.integers(0, pickle.HIGHEST_PROTOCOL), st.sampled_from([list, tuple]))
def test_what_pickle_writes_is_read(path, strings, protocol, kind):
    path.write_bytes(pickle.dumps(kind(strings), protocol=protocol))
    assert read_strings(path) == strings


@given(STRINGS)
def test_what_is_written_pickle_reads(path, strings):
    assert pickle.loads(write_strings(path, strings).read_bytes()) == strings


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_repeated_and_many_strings(path, protocol):
    one = "x" * 300
    strings = [one, "a\nb", one, *(f"word{i}" for i in range(70_000)), one]
    path.write_bytes(pickle.dumps(strings, protocol=protocol))
    assert read_strings(path) == strings


class Touch:
    """Create a file as soon as somebody unpickles it."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def hostile(marker: Path) -> dict[str, bytes]:
    """The ways to run a command from a pickle."""
    command = f"open({str(marker)!r}, 'w').close()".encode()
    text = b"X" + struct.pack("<I", len(command)) + command
    short = b"\x8c" + bytes([len(command)]) + command
    line = b"V" + command + b"\n"
    return {
        **{f"reduce {p}": pickle.dumps(["a", Touch(marker)], protocol=p) for p in range(6)},
        "global": b"\x80\x02]q\x00(cbuiltins\nexec\n(" + text + b"tRe.",
        "stack global": b"\x80\x04](\x8c\x08builtins\x8c\x04exec\x93" + short + b"\x85Re.",
        "inst": b"(" + line + b"ibuiltins\nexec\n.",
        "obj": b"(cbuiltins\nexec\n" + text + b"o.",
        "newobj": b"\x80\x02cbuiltins\nexec\n" + text + b"\x85\x81.",
        "newobj_ex": b"\x80\x04cbuiltins\nexec\n" + text + b"\x85}\x92.",
        "build": b"\x80\x02]cbuiltins\nexec\n}" + text + b"\x85sb.",
        "extension": b"\x80\x02\x82\x01.",
        "persistent id": b"\x80\x02U\x01aQ.",
    }


@pytest.mark.parametrize("name", hostile(Path("x")))
def test_code_is_refused_unexecuted(tmp_path, name):
    marker = tmp_path / "marker"
    path = tmp_path / "vocab.pkl"
    path.write_bytes(hostile(marker)[name])
    with pytest.raises(UserError, match="refused unopened") as caught:
        read_strings(path)
    assert not marker.exists() and "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_the_hostile_files_would_work(tmp_path):
    """pickle.loads falls for them: the test above tests something."""
    for name in ("reduce 2", "global", "stack global", "inst", "obj"):
        marker = tmp_path / "marker"
        pickle.loads(hostile(marker)[name])
        assert marker.exists(), name
        marker.unlink()


BOMBS = {
    "million nested lists": b"\x80\x02" + b"]" * 1_000_000 + b"a" * 999_999 + b".",
    "million marks": b"\x80\x02" + b"(" * 1_000_000 + b".",
    "huge integer": b"\x80\x02]\x8b" + struct.pack("<i", 2**31 - 1) + b"1" * 99 + b"a.",
    "decimal integer": b"]L" + b"9" * 5_000_000 + b"L\na.",
    "string longer than the file": b"\x80\x02]X" + struct.pack("<I", 2**32 - 1) + b"a.",
    "string of 2**63 bytes": b"\x80\x04]\x8d" + struct.pack("<Q", 2**63) + b"a.",
    "list of itself": b"\x80\x02]q\x00h\x00a.",
    "lists of lists": b"\x80\x02]q\x00]q\x01h\x00a.",
    "memo with a huge key": b"]p99999999999999\n.",
    "bytes": pickle.dumps([b"a"], protocol=4),
    "numbers": pickle.dumps(["a", 1]),
    "dictionary": pickle.dumps({"a": 1}),
    "ordered dictionary": pickle.dumps(collections.OrderedDict(a=1)),
    "a string alone": pickle.dumps("a"),
    "empty file": b"",
    "cut off": pickle.dumps(["abc", "def"])[:-5],
    "not a pickle": b"hello world",
    "bad UTF-8": b"\x80\x02]X\x01\x00\x00\x00\xffa.",
    "append without a list": b"\x80\x02X\x01\x00\x00\x00aa.",
    "stack underflow": b"\x80\x02\x87.",
    "list without mark": b"l.",
}


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.timeout(20)
def test_bombs_and_other_values_are_refused(path, name):
    path.write_bytes(BOMBS[name])
    with pytest.raises(UserError, match="not a pickled list of strings"):
        read_strings(path)


@given(st.binary(max_size=60))
def test_no_bytes_bring_another_error(path, content):
    path.write_bytes(content)
    with contextlib.suppress(UserError):
        assert all(isinstance(string, str) for string in read_strings(path))


def test_too_many_entries_from_a_small_file(path, monkeypatch):
    monkeypatch.setattr(pickles, "_LIMIT_ITEMS", 100)
    path.write_bytes(b"\x80\x02](X\x01\x00\x00\x00aq\x00" + b"h\x00" * 200 + b"e.")
    with pytest.raises(UserError, match="more than 100"):
        read_strings(path)


def test_a_file_that_is_too_large_or_absent(path, monkeypatch):
    monkeypatch.setattr(pickles, "_LIMIT_BYTES", 10)
    path.write_bytes(pickle.dumps(["a" * 20]))
    with pytest.raises(UserError, match="MB"):
        read_strings(path)
    with pytest.raises(UserError, match=r"cannot read the vocabulary .*none\.pkl"):
        read_strings(path.with_name("none.pkl"))
