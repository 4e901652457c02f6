"""Unpack a .tar.gz, .tgz or .zip of a data set safely. Out: its one folder, whole or not at all.

Members are written by us as plain files: no links, no devices, no modes, no path that leads outside.
"""

from __future__ import annotations

import contextlib
import os
import tarfile
import tempfile
import zipfile
from collections.abc import Generator, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from ulmfit.errors import UserError

LIMIT_BYTES = 8 << 30  # the largest set here unpacks to less than 1 GB
LIMIT_MEMBERS = 250_000  # and has 100,000 files
_BLOCK = 1 << 20
_LIMIT_HEADER = 1 << 16
# Members that say something about the next one, and are read into memory as a whole.
_ABOUT_OTHERS = (
    tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK,
)  # fmt: skip


def unpack(archive: Path, folder: str, *, limit_bytes: int = LIMIT_BYTES) -> Path:
    """Unpack the folder that `archive` holds beside it, and return its path."""
    out = archive.parent / folder
    if out.exists():
        raise UserError(
            f"{out} is there but not complete: remove it, and {archive.name} is unpacked again"
        )
    try:
        with tempfile.TemporaryDirectory(
            prefix=f".{folder}.", suffix=".part", dir=archive.parent
        ) as name:
            part = Path(name)
            _write_members(archive, part, limit_bytes)
            if not (part / folder).is_dir():
                raise UserError(
                    f"{archive} holds no folder {folder!r}: it is not the published archive"
                )
            os.replace(part / folder, out)
    except OSError as error:
        raise UserError(
            f"cannot unpack {archive} beside it: {error.strerror}; choose another --data-dir"
        ) from error
    return out


def _write_members(archive: Path, part: Path, limit_bytes: int) -> None:
    left = limit_bytes
    with _intact(archive):
        for number, (name, member) in enumerate(_members(archive), 1):
            path = part / _safe(name, archive)
            if number > LIMIT_MEMBERS:
                raise UserError(f"{archive} has more than {LIMIT_MEMBERS:,} members: refused")
            if member is None:
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            with member, open(path, "wb") as file:
                while block := member.read(_BLOCK):
                    left -= len(block)
                    if left < 0:
                        raise UserError(
                            f"{archive} unpacks to more than {limit_bytes / 1e6:.0f} MB: refused"
                        )
                    file.write(block)


@contextlib.contextmanager
def _intact(archive: Path) -> Generator[None]:
    """Turn a damaged archive into one line."""
    try:
        yield
    except Exception as error:
        # A damaged archive raises whatever its bytes happen to mean; only the disk has error numbers.
        if isinstance(error, UserError) or (isinstance(error, OSError) and error.errno is not None):
            raise
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(
            f"{archive} is cut off or damaged ({reason}): remove it, and it is fetched again"
        ) from error


def _safe(name: str, archive: Path) -> PurePosixPath:
    """Refuse a member that would land outside the folder, on any operating system."""
    path = PurePosixPath(name)
    if (
        path.is_absolute()
        or ".." in path.parts
        or not path.parts
        or "\\" in name
        or ":" in name
        or "\0" in name
    ):
        raise UserError(
            f"{archive} has a member {name!r} that leads outside its folder: refused, nothing is unpacked"
        )
    return path


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    """Yield the name and the content of every member of the archive; a folder has none."""
    return _zip_members(archive) if archive.suffix == ".zip" else _tar_members(archive)


def _tar_members(archive: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    with tarfile.open(archive, "r|*", tarinfo=_Header) as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isreg() else None
            if content is None and not member.isdir():
                raise UserError(
                    f"{archive} has a member {member.name!r} that is a link or a device: refused"
                )
            yield member.name, content


def _zip_members(archive: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    with zipfile.ZipFile(archive) as packed:
        for member in packed.infolist():
            kind = (
                member.external_attr >> 28
            )  # the file type of Unix: none given, or a regular file
            if kind not in (0, 8) and not member.is_dir():
                raise UserError(
                    f"{archive} has a member {member.filename!r} that is a link or a device: refused"
                )
            yield member.filename, None if member.is_dir() else packed.open(member)


class _Header(tarfile.TarInfo):
    """A header of a tar, refused before what it announces is read into memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Header:
        """Read a header."""
        member = super().frombuf(buf, encoding, errors)
        is_long = member.type in _ABOUT_OTHERS and not 0 <= member.size <= _LIMIT_HEADER
        if is_long or member.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.ReadError(f"a header of type {member.type!r}, {member.size:,} bytes long")
        return member
