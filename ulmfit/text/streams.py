"""Bytes and lines of a file, compressed or not. In: a path. Out: an open binary file, or its lines as UTF-8.

Lines end at line feeds only (texts hold U+0085 and U+2028), and the encoding is never guessed.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import zlib
from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ulmfit.errors import UserError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

COMPRESSED = (".gz", ".xz", ".bz2", ".zst")
LIMIT_BYTES = 1 << 26  # of one line, one row of a table, one document: War and Peace takes 3 MB
_BLOCK = 1 << 20
_BOM = b"\xef\xbb\xbf"


class BadByte(ValueError):
    """Carry the offset, in the uncompressed file, of the first byte that is not UTF-8."""

    def __init__(self, offset: int) -> None:
        super().__init__(offset)
        self.offset = offset


def not_utf8(path: str | Path, place: str, error: BadByte) -> UserError:
    """Word the one line for a file in another encoding."""
    where = (
        f"{path}, {place}, byte offset {error.offset}"
        if place
        else f"{path}, byte offset {error.offset}"
    )
    return UserError(
        f"{where}: not UTF-8; convert the file to UTF-8 (its encoding is never guessed)"
    )


def too_long(place: str) -> UserError:
    """Word the one line for what would not fit into memory beside its tokens."""
    return UserError(
        f"{place}: longer than {LIMIT_BYTES >> 20} MB; is a quote left open? else cut it into documents"
    )


def bare_name(path: Path) -> str:
    """Return the file name in lower case without the suffix of a compression."""
    name = path.name.lower()
    return name.rpartition(".")[0] if name.endswith(COMPRESSED) else name


@contextlib.contextmanager
def readable(path: Path) -> Generator[None]:
    """Turn a missing, forbidden, damaged or cut-off file into one line."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{path} is not there: check the path") from None
    except (EOFError, zlib.error, lzma.LZMAError) as error:
        raise UserError(
            f"{path} is cut off or damaged ({error}): fetch or compress it again"
        ) from error
    except OSError as error:
        if error.errno is None:  # the decompressors raise a bare OSError for broken content
            raise UserError(
                f"{path} is cut off or damaged ({error}): fetch or compress it again"
            ) from error
        raise UserError(f"cannot read {path}: {os.strerror(error.errno)}") from error


def open_bytes(path: Path) -> BinaryIO:
    """Open a file for reading and undo the compression that its suffix names."""
    suffix = path.suffix.lower()
    if suffix == ".gz":
        return io.BufferedReader(gzip.open(path), _BLOCK)
    if suffix == ".xz":
        return io.BufferedReader(lzma.open(path), _BLOCK)
    if suffix == ".bz2":
        return io.BufferedReader(bz2.open(path), _BLOCK)
    if suffix == ".zst":
        return io.BufferedReader(_ZstdFile(path), _BLOCK)
    return open(path, "rb", buffering=_BLOCK)


def lines(path: Path, encoding: str = "utf-8") -> Iterator[str]:
    """Yield the lines of a text file with their line ends; raise BadByte at the first byte of another encoding."""
    offset = 0
    with readable(path), open_bytes(path) as file:
        for number, line in enumerate(iter(partial(file.readline, LIMIT_BYTES + 1), b"")):
            if len(line) > LIMIT_BYTES:
                raise too_long(f"{path}, line {number + 1}")
            start = len(_BOM) if number == 0 and line.startswith(_BOM) else 0
            try:
                text = line[start:].decode(encoding)
            except UnicodeDecodeError as error:
                raise BadByte(offset + start + error.start) from None
            yield text
            offset += len(line)


def file_text(path: Path) -> str:
    """Read a file that is one document."""
    with readable(path), open_bytes(path) as file:
        return whole_text(file, str(path))


def whole_text(file: BinaryIO, name: str) -> str:
    """Read a stream that is one document."""
    content = file.read(LIMIT_BYTES + 1)
    if len(content) > LIMIT_BYTES:
        raise too_long(name)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        shift = len(_BOM) if content.startswith(_BOM) else 0
        raise not_utf8(name, "", BadByte(shift + error.start)) from None


class _ZstdFile(io.RawIOBase):
    """Read .zst frames, and notice when the last one is cut off (zstandard's own reader ends silently)."""

    def __init__(self, path: Path) -> None:
        try:
            import zstandard
        except ImportError:
            raise UserError(
                f"{path}: reading .zst needs one more package: pip install 'ulmfit[data]'"
            ) from None
        self._damage = zstandard.ZstdError
        self._new_frame = zstandard.ZstdDecompressor().decompressobj
        self._frame = self._new_frame()
        self._file = open(path, "rb")  # noqa: SIM115 - closed by close()
        self._ready = b""
        self._is_whole = False

    def readable(self) -> bool:
        """Tell the buffer above that it may read."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill a buffer with decompressed bytes."""
        room = memoryview(buffer).cast("B")
        while not self._ready:
            block = self._file.read(_BLOCK >> 3)
            if not block:
                return self._end()
            self._ready = self._decompress(block)
        count = min(len(room), len(self._ready))
        room[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def _decompress(self, block: bytes) -> bytes:
        out = []
        try:
            while block:
                if self._frame.eof:
                    self._frame = self._new_frame()
                out.append(self._frame.decompress(block))
                self._is_whole = self._frame.eof
                block = self._frame.unused_data if self._frame.eof else b""
        except self._damage as error:
            raise EOFError(str(error)) from error
        return b"".join(out)

    def _end(self) -> int:
        if not self._is_whole:
            raise EOFError("the file ends before the end of its last frame")
        return 0

    def close(self) -> None:
        """Close the file beneath."""
        self._file.close()
        super().close()
