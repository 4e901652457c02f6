"""Named data sets: how they are found and read, on small files of the same form and on the real ones."""

from __future__ import annotations

import collections
import functools
import hashlib
import io
import lzma
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from ulmfit.errors import UserError
from ulmfit.text import locate
from ulmfit.text.datasets import DATASETS, describe
from ulmfit.text.sources import open_source

ARTICLES = [
    " \n = First = \n \n A text . \n \n = = Part = = \n \n W = 1 \n = Played , W = \n",
    " \n = <unk> Second = \n \n More @-@ text . \n",
]


def counts(source):
    """Count documents by split and label."""
    found = collections.Counter()
    for batch in source.batches():
        found.update(zip(batch.splits, batch.labels or [None] * len(batch.splits)))
    return dict(found)


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.mark.parametrize("name", DATASETS)
def test_every_entry_is_complete(name):
    dataset = DATASETS[name]
    assert dataset.title and dataset.licence and dataset.citation and dataset.layouts
    for remote in dataset.files:
        assert remote.url.startswith("https://") and remote.size
        assert remote.sha256 is None or len(bytes.fromhex(remote.sha256)) == 32
    if any(remote.name.endswith((".tgz", ".gz", ".zip")) for remote in dataset.files):
        assert len({piece.path.partition("/")[0] for piece in dataset.layouts[0]}) == 1


def test_describe():
    assert [row.name for row in describe()] == list(DATASETS)
    assert next(row for row in describe() if row.name == "imdb").size_mb == pytest.approx(84.125825)


@pytest.mark.parametrize("place", ["", "wikitext-2", "wikitext-2/wikitext-2"])
@pytest.mark.parametrize("suffix", ["", ".xz"])
def test_wikitext_is_split_into_articles_and_nothing_is_lost(tmp_path, place, suffix):
    for split in ("train", "valid", "test"):
        content = "".join(ARTICLES).encode()
        path = tmp_path / place / f"wiki.{split}.tokens{suffix}"
        write(path, lzma.compress(content) if suffix else content)
    source = open_source("wikitext-2", data_dir=tmp_path)
    assert [batch.fields[0] for batch in source.batches()] == [ARTICLES] * 3
    assert source.label_kind == "none"
    assert counts(source) == {("train", None): 2, ("valid", None): 2, ("test", None): 2}


def test_trec_is_latin_1_and_coarse(tmp_path):
    write(
        tmp_path / "trec" / "train_5500.label",
        "DESC:manner How did Z\xfcrich grow ?\n".encode("latin-1"),
    )
    write(tmp_path / "trec" / "TREC_10.label", b"NUM:dist How far is it from Denver to Aspen ?\n")
    source = open_source("trec", data_dir=tmp_path / "trec")
    assert [batch.fields[0] for batch in source.batches()] == [
        ["How did Zürich grow ?"],
        ["How far is it from Denver to Aspen ?"],
    ]
    assert counts(source) == {("train", "DESC"): 1, ("test", "NUM"): 1}


def test_ag_news_names_its_topics_and_joins_nothing(tmp_path):
    for split in ("train", "test"):
        write(tmp_path / f"ag_news_csv/{split}.csv", '"4","A title","A ""text"""\n')
    source = open_source("ag_news", data_dir=tmp_path)
    assert counts(source) == {("train", "Sci/Tech"): 1, ("test", "Sci/Tech"): 1}
    assert next(source.batches()).fields == (["A title"], ['A "text"'])
    assert source.notices == []


@functools.cache  # an archive holds the second it was made in
def imdb_archive():
    """Build a small archive of the published form."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for path in (
            "train/pos/0_9",
            "train/neg/0_1",
            "train/unsup/0_0",
            "test/pos/0_8",
            "train/urls_pos",
        ):
            info = tarfile.TarInfo(f"aclImdb/{path}.txt")
            info.size = len(path)
            tar.addfile(info, io.BytesIO(path.encode()))
    return out.getvalue()


@pytest.fixture
def small_imdb(monkeypatch):
    """Publish the small archive in place of the real one, and count what is downloaded."""
    content = imdb_archive()
    remote = replace(
        DATASETS["imdb"].files[0], size=len(content), sha256=hashlib.sha256(content).hexdigest()
    )
    monkeypatch.setitem(DATASETS, "imdb", replace(DATASETS["imdb"], files=(remote,)))
    asked = []

    def download(remote, path):
        asked.append(path)
        write(path, content)
        return path

    monkeypatch.setattr(locate, "download", download)
    return asked


IMDB = {("train", "pos"): 1, ("train", "neg"): 1, ("unsup", None): 1, ("test", "pos"): 1}


def test_imdb_is_fetched_once(tmp_path, small_imdb, monkeypatch):
    monkeypatch.setenv("ULMFIT_DATA", str(tmp_path))
    assert counts(open_source("imdb")) == IMDB
    assert counts(open_source("imdb")) == IMDB
    assert small_imdb == [tmp_path / "imdb" / "aclImdb_v1.tar.gz"]
    for place in ("imdb", "imdb/aclImdb"):
        assert counts(open_source("imdb", data_dir=tmp_path / place)) == IMDB


@pytest.mark.parametrize("place", ["aclImdb_v1.tar.gz", "imdb/aclImdb_v1.tar.gz"])
def test_an_archive_that_is_there_is_used(tmp_path, small_imdb, place):
    write(tmp_path / place, imdb_archive())
    assert counts(open_source("imdb", data_dir=tmp_path)) == IMDB
    assert small_imdb == []


def test_an_archive_of_another_content_is_refused(tmp_path, small_imdb):
    write(tmp_path / "aclImdb_v1.tar.gz", b"something else")
    with pytest.raises(UserError, match="is not the published file"):
        open_source("imdb", data_dir=tmp_path)
    assert (tmp_path / "aclImdb_v1.tar.gz").exists() and small_imdb == []


def test_imdb_as_two_tables(tmp_path, small_imdb):
    header = "split,label,rating,id,text\n"
    write(tmp_path / "imdb/imdb_labeled.csv", header + "train,pos,9,0_9,good\ntest,neg,1,0_1,bad\n")
    write(
        tmp_path / "imdb/imdb_unsup.csv.xz",
        lzma.compress(f"{header}train,unsup,,0_0,so\n".encode()),
    )
    source = open_source("imdb", data_dir=tmp_path)
    assert counts(source) == {("train", "pos"): 1, ("test", "neg"): 1, ("unsup", None): 1}
    assert open_source("imdb", data_dir=tmp_path, label=None).label_kind == "none"
    assert small_imdb == []


def test_a_zip_is_unpacked(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "wikitext-2-v1.zip", "w") as out:
        for split in ("train", "valid", "test"):
            out.writestr(f"wikitext-2/wiki.{split}.tokens", ARTICLES[0])
    remote = replace(DATASETS["wikitext-2"].files[0], size=None, sha256=None)
    monkeypatch.setitem(DATASETS, "wikitext-2", replace(DATASETS["wikitext-2"], files=(remote,)))
    source = open_source("wikitext-2", data_dir=tmp_path)
    assert counts(source) == {("train", None): 1, ("valid", None): 1, ("test", None): 1}


def test_a_data_set_names_its_own_columns(tmp_path):
    with pytest.raises(UserError, match="names its own columns"):
        open_source("imdb", text="review", data_dir=tmp_path)


def test_demo_has_labels_and_all_splits():
    try:
        source = open_source("demo")
    except UserError:
        pytest.skip("the demo corpus is not there yet")
    assert source.label_kind == "category"
    assert {split for split, _ in counts(source)} >= {"train", "test", "unsup"}


# the real corpora, where they are


def test_real_trec(real_data):
    found = counts(open_source("trec", data_dir=real_data))
    assert sum(n for (split, _), n in found.items() if split == "train") == 5452
    assert {label: n for (split, label), n in found.items() if split == "test"} == {
        **{"NUM": 113, "LOC": 81, "HUM": 65},
        **{"DESC": 138, "ENTY": 94, "ABBR": 9},
    }


def test_real_ag_news(real_data):
    source = open_source("ag_news", data_dir=real_data)
    found = counts(source)
    topics = ("World", "Sports", "Business", "Sci/Tech")
    assert [found["test", topic] for topic in topics] == [1900] * 4
    assert [found["train", topic] for topic in topics] == [2966, 3042, 3026, 2961]
    assert "a tenth of the official training set" in source.notices[0]
    path = real_data / "ag_news" / "test.csv.xz"
    by_path = open_source(path, text=["t", "d"], label="c", columns=["c", "t", "d"])
    assert sum(counts(by_path).values()) == 7600


def test_real_wikitext(real_data):
    source = open_source("wikitext-2", data_dir=real_data)
    texts = collections.defaultdict(list)
    for batch in source.batches():
        for text, split in zip(batch.fields[0], batch.splits):
            texts[split].append(text)
    assert {split: len(found) for split, found in texts.items()} == {
        "train": 600,
        "valid": 60,
        "test": 60,
    }
    # the published numbers of tokens, counting one <eos> a line
    n_tokens = {
        split: sum(len(t.split()) + t.count("\n") for t in found) for split, found in texts.items()
    }
    assert n_tokens == {"train": 2_088_628, "valid": 217_646, "test": 245_569}


@pytest.mark.slow
def test_real_imdb(real_data):
    source = open_source("imdb", data_dir=real_data)
    assert counts(source) == {
        **{(split, label): 12_500 for split in ("train", "test") for label in ("pos", "neg")},
        ("unsup", None): 50_000,
    }
    assert source.notices == []
    labeled = open_source(real_data / "imdb/imdb_labeled.csv.xz", label="rating", split="split")
    n_bytes = collections.Counter()
    for batch in labeled.batches():
        for text, label, split in zip(batch.fields[0], batch.labels, batch.splits):
            n_bytes[split] += len(text.encode())
            assert label in {"1", "2", "3", "4", "7", "8", "9", "10"}
    assert n_bytes == {"train": 33_132_823, "test": 32_350_685}


def test_a_folder_that_is_called_like_a_data_set_is_told_apart(tmp_path, monkeypatch):
    """Before anything is downloaded: who stands beside ./trec may have meant that."""
    monkeypatch.chdir(tmp_path)
    Path("trec").mkdir()
    with pytest.raises(UserError, match=r"trec is the name of a data set.* write \./trec"):
        open_source("trec", data_dir=tmp_path / "data")
    Path("trec/train_5500.label").write_text("HUM:x who is it ?\n")
    Path("trec/TREC_10.label").write_text("LOC:x where is it ?\n")
    assert open_source("trec", data_dir=tmp_path).name == "trec"  # it is the data set's own folder
