"""Downloads from a local server that can cut the connection, lie, or be away."""

from __future__ import annotations

import hashlib
import http.server
import random
import threading

import pytest

from ulmfit.errors import UserError
from ulmfit.text import download as download_module
from ulmfit.text.download import RemoteFile, download

CONTENT = random.Random(0).randbytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serve CONTENT with ranges; `cuts` says after how many bytes each answer breaks off."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.cuts: list[int] = []
        self.asked: list[str | None] = []
        self.knows_ranges = True
        self.url = f"http://127.0.0.1:{self.server_port}/set.tgz"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path != "/set.tgz":
            return self.send_error(404)
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        start = (
            int(wanted.removeprefix("bytes=").rstrip("-"))
            if wanted and self.server.knows_ranges
            else 0
        )
        if start >= len(CONTENT):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
            return self.end_headers()
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        cut = self.server.cuts.pop(0) if self.server.cuts else len(CONTENT)
        self.wfile.write(CONTENT[start:][:cut])

    def log_message(self, *args):
        pass


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def server():
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def remote(server, **known):
    return RemoteFile(**{"url": server.url, "size": len(CONTENT), "sha256": SHA256, **known})


def test_download(server, tmp_path):
    path = download(remote(server), tmp_path / "new" / "set.tgz")
    assert path.read_bytes() == CONTENT
    assert [p.name for p in path.parent.iterdir()] == ["set.tgz"]


def test_a_cut_connection_is_resumed(server, tmp_path):
    server.cuts = [100_000, 50_000]
    assert download(remote(server), tmp_path / "set.tgz").read_bytes() == CONTENT
    assert server.asked == [None, "bytes=100000-", "bytes=150000-"]


def test_the_next_run_goes_on_where_this_one_stopped(server, tmp_path):
    server.cuts = [100, 100, 100]
    with pytest.raises(UserError, match="300 bytes are kept") as caught:
        download(remote(server), tmp_path / "set.tgz")
    assert server.url in str(caught.value) and str(tmp_path) in str(caught.value)
    assert not (tmp_path / "set.tgz").exists()
    assert download(remote(server), tmp_path / "set.tgz").read_bytes() == CONTENT
    assert server.asked[-1] == "bytes=300-"


def test_a_part_that_is_already_whole(server, tmp_path):
    (tmp_path / "set.tgz.part").write_bytes(CONTENT)
    assert download(remote(server), tmp_path / "set.tgz").read_bytes() == CONTENT


def test_a_server_without_ranges_starts_again(server, tmp_path):
    server.knows_ranges = False
    server.cuts = [100_000]
    assert download(remote(server), tmp_path / "set.tgz").read_bytes() == CONTENT


@pytest.mark.parametrize("known", [{"sha256": "0" * 64}, {"size": 5, "sha256": None}])
def test_another_file_than_published_is_deleted(server, tmp_path, known):
    with pytest.raises(UserError, match="published"):
        download(remote(server, **known), tmp_path / "set.tgz")
    assert list(tmp_path.iterdir()) == []


def test_offline_names_file_folder_and_url(tmp_path):
    gone = RemoteFile("http://127.0.0.1:9/set.tgz", 1)  # the discard port: nobody listens
    with pytest.raises(UserError) as caught:
        download(gone, tmp_path / "set.tgz")
    message = str(caught.value)
    assert (
        all(part in message for part in ("set.tgz", str(tmp_path), gone.url))
        and "\n" not in message
    )


def test_a_folder_that_cannot_be_written(server, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="cannot write"):
        download(remote(server), tmp_path / "file" / "set.tgz")


def test_a_missing_page_is_not_asked_for_again(server, tmp_path, monkeypatch):
    calls = []
    original = download_module._fetch_rest
    monkeypatch.setattr(download_module, "_fetch_rest", lambda *a: calls.append(a) or original(*a))
    with pytest.raises(UserError, match="404"):
        download(RemoteFile(server.url.replace("set", "other")), tmp_path / "other.tgz")
    assert len(calls) == 1
