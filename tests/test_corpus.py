"""A corpus folder: what it shows, and how it refuses parts that do not belong together."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import ulmfit
from ulmfit import UserError
from ulmfit.text.corpus import Corpus


@pytest.fixture
def copy(demo_corpus: Corpus, tmp_path: Path) -> Path:
    return Path(shutil.copytree(demo_corpus.folder, tmp_path / "copy"))


def test_the_same_comes_back(demo_corpus: Corpus, copy: Path) -> None:
    again = ulmfit.load(copy)
    assert again.manifest == demo_corpus.manifest
    assert list(again.vocab) == list(demo_corpus.vocab)
    assert np.array_equal(again.ids, demo_corpus.ids)


def test_ids_are_mapped_and_not_read(demo_corpus: Corpus) -> None:
    assert isinstance(demo_corpus.ids, np.memmap)
    assert demo_corpus.ids.dtype == np.uint16
    with pytest.raises(ValueError, match="read-only"):
        demo_corpus.ids[0] = 1


def test_encode_gives_the_ids_that_stand_here(demo_corpus: Corpus, demo_frame) -> None:
    rows = demo_frame.sample(n=300, random_state=0)
    encoded = list(demo_corpus.encode(rows.text[:20].tolist()))
    assert [e.tolist() for e in encoded] == [demo_corpus[i].tolist() for i in range(20)]


def test_rows_split_the_corpus(demo_corpus: Corpus) -> None:
    rows = np.concatenate([demo_corpus.rows(s) for s in ("train", "valid", "test", "unsup")])
    assert sorted(rows.tolist()) == list(range(len(demo_corpus)))


def test_an_unknown_split_is_one_line(demo_corpus: Corpus) -> None:
    with pytest.raises(UserError, match="no split 'tset': did you mean 'test'"):
        demo_corpus.rows("tset")


def test_no_document_beyond_the_last(demo_corpus: Corpus) -> None:
    with pytest.raises(IndexError):
        demo_corpus[len(demo_corpus)]
    with pytest.raises(IndexError, match="document -1 of"):
        demo_corpus.label(-1)
    assert sum(1 for _ in demo_corpus) == len(demo_corpus)


def test_what_is_shown_is_safe_html(tmp_path: Path) -> None:
    corpus = ulmfit.prepare(["<script>alert(1)</script>"] * 3, tmp_path / "<script>")
    assert "<script>" not in corpus._repr_html_() + corpus.vocab._repr_html_()
    assert corpus.show(2).shape == (2, 2)


def test_summary_is_json(demo_corpus: Corpus) -> None:
    summary = json.loads(json.dumps(demo_corpus.summary()))
    assert summary["tokens"] == len(demo_corpus.ids)
    assert f"{len(demo_corpus):,} documents" in str(demo_corpus)


def test_the_card_says_what_str_says(demo_corpus: Corpus) -> None:
    card = (demo_corpus.folder / "README.md").read_text()
    assert all(line in card for line in demo_corpus.describe())
    assert demo_corpus.fingerprint in card


def refused(folder: Path) -> str:
    with pytest.raises(UserError) as error:
        ulmfit.load(folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_another_vocabulary_of_the_same_size_is_refused(copy: Path) -> None:
    tokens = json.loads((copy / "vocab.json").read_text())
    tokens[9], tokens[10] = tokens[10], tokens[9]
    (copy / "vocab.json").write_text(json.dumps(tokens))
    assert "is not the vocabulary of this corpus" in refused(copy)


@pytest.mark.parametrize("name", ["ids", "offsets", "splits", "labels", "characters"])
def test_a_truncated_array_is_refused(copy: Path, name: str) -> None:
    path = copy / f"{name}.npy"
    path.write_bytes(path.read_bytes()[:-8])
    assert f"{name}.npy cannot be read" in refused(copy)


@pytest.mark.parametrize("name", ["ids", "offsets", "splits", "labels", "characters"])
def test_an_array_of_another_length_is_refused(copy: Path, name: str) -> None:
    np.save(copy / f"{name}.npy", np.load(copy / f"{name}.npy")[:-1])
    assert "do not fit" in refused(copy)


@pytest.mark.parametrize("name", ["ids", "splits", "labels", "characters"])
def test_an_array_of_other_lawful_values_is_refused(copy: Path, name: str) -> None:
    values = np.load(copy / f"{name}.npy")
    np.save(copy / f"{name}.npy", values[::-1].copy())
    assert f"{name}.npy was changed or damaged" in refused(copy)


def test_a_folder_that_was_written_without_hashes_is_read(copy: Path) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    del manifest["files"]
    (copy / "manifest.json").write_text(json.dumps(manifest))
    assert len(Corpus.load(copy)) == sum(s["documents"] for s in manifest["splits"].values())


def test_a_pickled_array_is_refused_unread(copy: Path) -> None:
    np.save(copy / "ids.npy", np.array([{}], dtype=object), allow_pickle=True)
    assert "ids.npy cannot be read" in refused(copy)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "classifier"}, "classifier"),
        ({"format": 99}, "format 99"),
        ({"extra": 1}, "extra"),
        ({"config": {"tokenizer": "word"}}, "fields"),
        ({"splits": 3}, "not a corpus manifest"),
        ({"splits": {"tarin": {"documents": 1, "tokens": 1, "unknown": 0}}}, "splits 'tarin'"),
    ],
)
def test_a_manifest_of_something_else_is_refused(copy: Path, changes: dict, said: str) -> None:
    edit(copy / "manifest.json", **changes)
    with pytest.raises(UserError, match=said):
        Corpus.load(copy)


@pytest.mark.parametrize("content", ["", "[" * 100_000, "null", "\x00"])
def test_a_broken_manifest_is_refused(copy: Path, content: str) -> None:
    (copy / "manifest.json").write_text(content)
    assert "manifest.json" in refused(copy) or "no artefact" in refused(copy)


def test_a_missing_folder_and_an_empty_one_are_refused(tmp_path: Path) -> None:
    assert "nothing" in refused(tmp_path / "nothing")
    assert "manifest.json" in refused(tmp_path)


def test_a_folder_from_before_its_texts_were_counted_is_read(
    demo_corpus: Corpus, tmp_path: Path
) -> None:
    folder = shutil.copytree(demo_corpus.folder, tmp_path / "corpus")
    content = json.loads((folder / "manifest.json").read_text())
    assert (content.pop("n_fields"), content.pop("text_columns")) == (1, ["text"])
    (folder / "manifest.json").write_text(json.dumps(content))
    manifest = Corpus.load(folder).manifest
    assert manifest.n_fields is None and manifest.text_columns == ()
