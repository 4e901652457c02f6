"""Folder layouts, against the list of files that made them."""

from __future__ import annotations

import os

import pytest

import ulmfit
from ulmfit.errors import UserError
from ulmfit.text.folders import FolderTable
from ulmfit.text.rows import Rows, texts_of


def make(root, *paths):
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"text of {path}", encoding="utf-8")
    return FolderTable(root)


def rows(table):
    names = table.columns()
    return [dict(zip(names, cells)) for cells in table.rows(names)]


def places(table):
    return [(r["text"].removeprefix("text of "), r.get("label"), r["split"]) for r in rows(table)]


def test_what_is_no_document_is_named_and_can_be_taken(tmp_path):
    table = make(tmp_path, "1.txt", "2.txt", "old/3.txt")
    assert places(table) == [("old/3.txt", "old", "train")]
    assert table.left_out == ["1.txt", "2.txt"]
    assert "(1.txt, 2.txt)" in str(ulmfit.check(tmp_path))
    whole = FolderTable(tmp_path)
    whole.take_all()
    assert [place for place, *_ in places(whole)] == ["1.txt", "2.txt", "old/3.txt"]
    assert not whole.left_out
    assert [row.cells[0] for row in Rows(texts_of(tmp_path))] == ["1.txt", "2.txt", "old/3.txt"]


def test_linked_folders_are_read_but_for_those_that_lead_back(tmp_path):
    make(tmp_path / "elsewhere", "1.txt")
    table = make(tmp_path / "data", "pos/1.txt", "neg/2.txt")
    (tmp_path / "data" / "neu").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "data" / "pos" / "again").symlink_to(tmp_path / "data", target_is_directory=True)
    found = places(table)
    assert {label for _, label, _ in found} == {"pos", "neg", "neu"} and len(found) < 9


def test_acl_imdb_layout(tmp_path):
    table = make(
        tmp_path,
        *("train/pos/0_9.txt", "train/pos/10_8.txt", "train/neg/0_1.txt", "train/unsup/0_0.txt"),
        *("test/neg/1_2.txt", "train/urls_pos.txt", "imdb.vocab", "README", "notes/pos/1.txt"),
    )
    assert places(table) == [
        ("test/neg/1_2.txt", "neg", "test"),
        ("train/neg/0_1.txt", "neg", "train"),
        ("train/pos/0_9.txt", "pos", "train"),
        ("train/pos/10_8.txt", "pos", "train"),
        ("train/unsup/0_0.txt", None, "unsup"),
    ]
    assert table.where(1, 5) == "test/neg/1_2.txt, train/unsup/0_0.txt"


def test_split_folders_by_their_other_names(tmp_path):
    table = make(
        tmp_path, "training/a/1.txt", "Validation/b/1.txt", "unlabeled/1.txt", "unlabeled/2.txt"
    )
    assert [place[1:] for place in places(table)] == [
        ("b", "valid"),
        ("a", "train"),
        (None, "unsup"),
        (None, "unsup"),
    ]


def test_label_folders_alone(tmp_path):
    table = make(
        tmp_path,
        "spam/1.txt",
        "ham/1.txt",
        "test/1.txt",
        "unsup/1.txt",
        ".git/x.txt",
        "._1.txt",
        "README.txt",
    )
    assert places(table) == [
        ("ham/1.txt", "ham", "train"),
        ("spam/1.txt", "spam", "train"),
        ("test/1.txt", "test", "train"),  # a label may be called test where there is no train
        ("unsup/1.txt", None, "unsup"),
    ]


def test_nested_label_folders_keep_the_first_name(tmp_path):
    assert places(make(tmp_path, "a/1.txt", "a/b/2.txt")) == [
        ("a/1.txt", "a", "train"),
        ("a/b/2.txt", "a", "train"),
    ]


def test_plain_files_are_unlabelled(tmp_path):
    table = make(tmp_path, "b.txt", "a.txt")
    assert table.columns() == ["text", "split"]
    assert places(table) == [("a.txt", None, "train"), ("b.txt", None, "train")]


def test_order_does_not_depend_on_the_file_system(tmp_path, monkeypatch):
    files = [f"{label}/{n}.txt" for label in "ba" for n in (10, 9, 1)]
    expected = places(make(tmp_path, *files))
    walk = os.walk

    def backwards(root):
        for folder, folders, names in walk(root):
            folders.sort(reverse=True)
            yield folder, folders, sorted(names, reverse=True)

    monkeypatch.setattr(os, "walk", backwards)
    assert places(FolderTable(tmp_path)) == expected
    assert [place[0] for place in expected] == sorted(files)


def test_hash_sees_content_and_labels_but_not_the_place(tmp_path):
    first, second = make(tmp_path / "one", "a/1.txt"), make(tmp_path / "two", "a/1.txt")
    assert first.content_hash([]) == second.content_hash([])
    assert make(tmp_path / "three", "b/1.txt").content_hash([]) != first.content_hash([])
    (tmp_path / "two/a/1.txt").write_text("other", encoding="utf-8")
    assert FolderTable(tmp_path / "two").content_hash([]) != first.content_hash([])


def test_a_folder_without_documents_says_what_it_holds(tmp_path):
    (tmp_path / "train.csv").write_text("text\na\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"name its files instead: train\.csv"):
        FolderTable(tmp_path).columns()
