"""Published models by name, from a server on this machine that serves an archive made with stock fastai."""

from __future__ import annotations

import functools
import hashlib
import http.server
import tarfile
import threading
from dataclasses import replace

import pytest
import torch
from stock_files import V1_TOKENS, stock_logits, stock_model, v1_weights, write_vocab

from ulmfit.errors import UserError
from ulmfit.models import pretrained
from ulmfit.models.pretrained import PRETRAINED, Pretrained, load_pretrained
from ulmfit.text.download import RemoteFile

NAME = "wt103-bwd"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args): ...


@pytest.fixture
def published(tmp_path, monkeypatch):
    """The entry of a tiny model whose archive looks like fastai's, behind a running server."""
    monkeypatch.setenv("no_proxy", "*")
    made, site = tmp_path / "made" / NAME, tmp_path / "site"
    site.mkdir()
    write_vocab(made / "itos_wt103.pkl", V1_TOKENS)
    torch.save(v1_weights(stock_model(len(V1_TOKENS))), made / "lstm_bwd.pth")
    archive = site / f"{NAME}.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(made, arcname=NAME)
    content = archive.read_bytes()
    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/{NAME}.tgz"
        entry = Pretrained(
            RemoteFile(url, len(content)),
            origin="a test",
            direction="backward",
            head_md5=hashlib.md5(content[: 1 << 20]).hexdigest(),
        )
        monkeypatch.setitem(pretrained.PRETRAINED, NAME, entry)
        yield entry
        server.shutdown()
        thread.join()


def test_fetch_convert_and_keep(published, tmp_path, monkeypatch):
    home = tmp_path / "home"
    lm = load_pretrained(NAME, data_dir=home)
    stock = stock_model(len(V1_TOKENS))
    words = torch.randperm(len(V1_TOKENS), generator=torch.Generator().manual_seed(0))
    ours = torch.tensor([lm.vocab.id(V1_TOKENS[i]) for i in words])
    with torch.no_grad():
        got = lm.model(precision="fp32")(ours[None]).logits()[0][:, ours]
    torch.testing.assert_close(
        got, stock_logits(stock, words[None])[0][:, words], atol=1e-5, rtol=0
    )
    assert lm.manifest.provenance.direction == "backward" and lm.text.config.tokenizer == "word"
    assert not (home / "archives" / NAME).exists()
    unreachable = replace(published, remote=RemoteFile("http://127.0.0.1:9/x.tgz"))
    monkeypatch.setitem(pretrained.PRETRAINED, NAME, unreachable)
    assert load_pretrained(NAME, data_dir=home).fingerprint == lm.fingerprint


def test_offline_names_file_folder_and_url(tmp_path, monkeypatch):
    url = f"http://127.0.0.1:9/{NAME}.tgz"  # the discard port: nobody listens
    monkeypatch.setitem(pretrained.PRETRAINED, NAME, Pretrained(RemoteFile(url), origin="a test"))
    with pytest.raises(UserError) as caught:
        load_pretrained(NAME, data_dir=tmp_path / "home")
    message = str(caught.value)
    assert url in message and str(tmp_path / "home" / "archives") in message and "\n" not in message
    assert not (tmp_path / "home" / "models").exists()


@pytest.mark.parametrize("place", ["", "archives"])
def test_an_archive_put_there_by_hand(published, tmp_path, monkeypatch, place):
    target = tmp_path / "home" / place / f"{NAME}.tgz"
    target.parent.mkdir(parents=True)
    target.write_bytes((tmp_path / "site" / f"{NAME}.tgz").read_bytes())
    away = replace(
        published, remote=replace(published.remote, url=f"http://127.0.0.1:9/{NAME}.tgz")
    )
    monkeypatch.setitem(pretrained.PRETRAINED, NAME, away)
    assert len(load_pretrained(NAME, data_dir=tmp_path / "home").vocab) == len(V1_TOKENS)


@pytest.mark.parametrize("change", [{"head_md5": "0" * 32}, {"remote": None}])
def test_another_archive_than_the_published_one(published, tmp_path, monkeypatch, change):
    if "remote" in change:
        change = {"remote": replace(published.remote, size=7)}
    monkeypatch.setitem(pretrained.PRETRAINED, NAME, replace(published, **change))
    with pytest.raises(UserError, match="published"):
        load_pretrained(NAME, data_dir=tmp_path / "home")
    assert not (tmp_path / "home" / "models").exists()


def test_an_unknown_name(tmp_path):
    with pytest.raises(UserError, match="did you mean 'wt103-fwd'"):
        load_pretrained("wt103_fwd", data_dir=tmp_path)


def test_the_urls_are_those_of_fastai():
    from fastai.data.external import URLs

    assert PRETRAINED["wt103-fwd"].remote.url == URLs.WT103_FWD
    assert PRETRAINED["wt103-bwd"].remote.url == URLs.WT103_BWD
