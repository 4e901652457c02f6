"""Whole or absent: the folder and file writers, with an error at every place."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from ulmfit.errors import UserError, nearest
from ulmfit.files import atomic_file, atomic_folder, fingerprint, hash_file, read_json, write_json
from ulmfit.training.run import open_run


def test_a_folder_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "deep" / "out") as part:
        (part / "manifest.json").write_text("{}")
        assert not (tmp_path / "deep" / "out").exists()
    assert os.listdir(tmp_path / "deep") == ["out"]
    assert (tmp_path / "deep" / "out").stat().st_mode & 0o777 == 0o755


def test_all_bytes_are_on_the_disk_before_the_folder_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stood in its place, and the checkpoint that made it, may be deleted right after."""
    flushed: list[int] = []
    out, fsync = tmp_path / "out", os.fsync

    def record(number: int) -> None:
        assert not out.exists()
        flushed.append(os.fstat(number).st_ino)
        fsync(number)

    monkeypatch.setattr(os, "fsync", record)
    with atomic_folder(out) as part:
        (part / "inner").mkdir()
        for name in ("manifest.json", "weights", "inner/vocab"):
            (part / name).write_text(name)
    files = [path for path in out.rglob("*") if path.is_file()]
    assert sorted(flushed) == sorted(path.stat().st_ino for path in files)


def test_the_folder_that_one_stands_in_is_no_place_for_a_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for begin in (lambda: atomic_folder("."), lambda: open_run(".", settings={})):
        with pytest.raises(UserError, match=r"--out is \., .* such as result"), begin():
            raise AssertionError("began")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, OSError(errno.ENOSPC, "full")])
def test_a_failure_leaves_what_was_there(tmp_path: Path, error: BaseException) -> None:
    out = tmp_path / "out"
    with atomic_folder(out) as part:
        (part / "manifest.json").write_text("old")
    with pytest.raises((KeyboardInterrupt, RuntimeError, UserError)), atomic_folder(out) as part:
        (part / "manifest.json").write_text("new")
        raise error
    assert (out / "manifest.json").read_text() == "old"
    assert os.listdir(tmp_path) == ["out"]


def test_a_rename_that_fails_brings_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with atomic_folder(out) as part:
        (part / "manifest.json").write_text("old")
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name.endswith(".part"):
            raise OSError(errno.EIO, "broken disk")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(UserError, match="cannot write"), atomic_folder(out) as part:
        (part / "manifest.json").write_text("new")
    assert (out / "manifest.json").read_text() == "old"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_one_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="Permission denied"), atomic_folder(tmp_path / "out"):
        pass


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a folder of no disk is one of Linux")
@pytest.mark.parametrize("write", [atomic_folder, atomic_file])
def test_a_place_where_no_folder_can_be_made_is_one_line(write: Any) -> None:
    with pytest.raises(UserError, match="cannot make the folder /proc/"), write("/proc/no/out"):
        pass


def test_a_file_is_replaced_or_left(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with atomic_file(path) as part:
        part.write_text("one")
    with pytest.raises(RuntimeError), atomic_file(path) as part:
        part.write_text("two")
        raise RuntimeError
    assert path.read_text() == "one"
    assert os.listdir(tmp_path) == ["file"]


def test_the_folder_of_a_run_is_called_so(tmp_path: Path) -> None:
    for name in ("corpus", "1_pretrain_lm", "3_train_classifier"):
        (tmp_path / "run" / name).mkdir(parents=True)
        write_json(tmp_path / "run" / name / "manifest.json", {})
    said = r"run is the folder of a run: give a folder in it \(1_pretrain_lm, 3_train_classifier, corpus\)"
    with pytest.raises(UserError, match=said):
        read_json(tmp_path / "run" / "manifest.json")
    with pytest.raises(UserError, match=r"x\.json is missing: .* is not a whole artefact folder"):
        read_json(tmp_path / "run" / "corpus" / "x.json")


def test_json_comes_back(tmp_path: Path) -> None:
    value = {"ß": [1, None, "\u2028"]}
    write_json(tmp_path / "x.json", value)
    assert read_json(tmp_path / "x.json") == value


def test_fingerprints_follow_content(tmp_path: Path) -> None:
    assert fingerprint({"a": 1, "b": "\ud800"}) == fingerprint({"b": "\ud800", "a": 1})
    assert fingerprint(["a", "b"]) != fingerprint(["ab"])
    (tmp_path / "abc").write_bytes(b"abc")  # the hash of FIPS 180-2's first example
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert hash_file(tmp_path / "abc") == known


def test_the_nearest_name_is_offered() -> None:
    assert nearest("Lable", ["text", "label"]).startswith("did you mean 'label'?")
    assert nearest("zzz", ["text"]) == "there is: text"
