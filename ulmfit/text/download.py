"""Fetch one file: resumed after a cut, checked, and under its final name only when it is whole.

In: a URL, a path, and what is known of the file. Out: the file at that path, or one line of error and the
beginning as `<name>.part`, which the next try continues.
"""

from __future__ import annotations

import http.client
import os
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from ulmfit.errors import UserError
from ulmfit.files import hash_file

TRIES = 3
_BLOCK = 1 << 20
_SECONDS_OF_SILENCE = 60


@dataclass(frozen=True)
class RemoteFile:
    """A file on a server and how a copy is verified."""

    url: str
    size: int | None = None
    """Bytes."""
    sha256: str | None = None
    """None where nobody has published one: then the size, and the check sums inside the archive, have to do."""

    @property
    def name(self) -> str:
        """The file name at the end of the URL."""
        return self.url.rpartition("/")[2]


def download(remote: RemoteFile, path: Path) -> Path:
    """Fetch `remote` to `path`, going on from a `.part` of an earlier try."""
    part = path.with_name(path.name + ".part")
    size = f" ({remote.size / 1e6:.1f} MB)" if remote.size else ""
    print(f"downloading {remote.url}{size} to {path.parent}", file=sys.stderr)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _fetch_all(remote, part)
        wrong = mismatch(remote, part)
        if wrong:
            part.unlink()
            raise UserError(
                f"{remote.url}: {wrong}; the download is deleted: try again, or put the file into {path.parent}"
            )
        os.replace(part, path)
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror}; choose another folder with --data-dir"
        ) from error
    return path


def mismatch(remote: RemoteFile, path: Path) -> str:
    """Say what about `path` is not the published file; "" when all that is known agrees."""
    size = path.stat().st_size
    if remote.size not in (None, size):
        return f"{size} bytes where {remote.size} are published"
    if remote.sha256 not in (None, found := hash_file(path)):
        return f"its SHA-256 is {found[:16]}..., the published one is {remote.sha256[:16]}..."
    return ""


def _fetch_all(remote: RemoteFile, part: Path) -> None:
    """Ask again for the rest while the connection breaks but brings something."""
    reason = "it ends early"
    for _ in range(TRIES):
        try:
            if _fetch_rest(remote.url, part):
                return
        except urllib.error.HTTPError as error:
            reason = f"the server says {error.code} {error.reason}"
            break
        except (http.client.HTTPException, OSError) as error:
            if getattr(error, "filename", None):  # the disk, not the network
                raise
            reason = str(getattr(error, "reason", error))
    have = part.stat().st_size if part.exists() else 0
    kept = f" ({have} bytes are kept, the next try goes on from there)" if have else ""
    raise UserError(
        f"cannot download {remote.name}: {reason}{kept}; without a connection, fetch {remote.url} elsewhere"
        f" and put it into {part.parent}"
    )


def _fetch_rest(url: str, part: Path) -> bool:
    """Append what is missing of `part`; False when the connection ended before the file did."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urllib.request.urlopen(request, timeout=_SECONDS_OF_SILENCE)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # nothing after what we have: either whole or of another file
            raise
        if error.headers.get("Content-Range") == f"bytes */{have}":
            return True
        part.unlink()
        return False
    with answer:
        is_rest = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(
            f"bytes {have}-"
        )
        wanted = answer.headers.get("Content-Length")
        with open(part, "ab" if is_rest else "wb") as file:
            got = 0
            while block := answer.read(_BLOCK):
                got += file.write(block)
    return wanted is None or got == int(wanted)
