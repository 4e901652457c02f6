"""A disk that is full, or not to be written, at any moment: one line, nothing half-written, what was there before intact."""

from __future__ import annotations

import builtins
import errno
import io
import itertools
import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import safetensors.torch
import torch
from tiny_classifier import write_tiny_classifier

import ulmfit
from ulmfit import cli
from ulmfit.errors import UserError
from ulmfit.models import parts
from ulmfit.models.arch import ArchConfig
from ulmfit.text.corpus import Corpus
from ulmfit.training import checkpoint
from ulmfit.training.presets import PRETRAIN_PRESETS
from ulmfit.unfinished import held_part, parts_of

pytestmark = pytest.mark.usefixtures("calm")

TEXT = ulmfit.TextConfig(min_freq=1)
# How many moments of a run are tried: a few at every test run, all of them when somebody has the time.
DEPTHS = [3, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(1_800)])]
STAGE = replace(
    PRETRAIN_PRESETS["tiny"], bs=4, epochs=2, arch=ArchConfig(emb_sz=8, n_hid=8, n_layers=1)
)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    rows = [
        (f"the {i} film was {mood} indeed", mood, "test" if i > 8 else "train")
        for i in range(12)
        for mood in ("fine", "dull")
    ]
    return pd.DataFrame(rows, columns=["text", "label", "split"])


@pytest.fixture(scope="module")
def corpus(frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    out = tmp_path_factory.mktemp("corpus") / "corpus"
    return ulmfit.prepare(frame, out, split="split", config=TEXT)


# --- a disk that fails at the n-th thing that is done to it


class Disk:
    """Count what is done to files below a folder, and refuse one of these acts."""

    def __init__(self, folder: Path, fails_at: int | None, number: int) -> None:
        self.folder, self.fails_at, self.number = str(folder), fails_at, number
        self.n_acts = 0

    def act(self, path: Any) -> None:
        if not str(path).startswith(self.folder):
            return
        self.n_acts += 1
        if self.n_acts == self.fails_at:
            raise OSError(self.number, os.strerror(self.number), str(path))


class Written:
    """A file whose writes are counted; the rest is the file's own."""

    def __init__(self, file: Any, path: Any, disk: Disk) -> None:
        self._file, self._path, self._disk = file, path, disk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, content: Any) -> int:
        self._disk.act(self._path)
        return self._file.write(content)

    def __enter__(self) -> Written:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


def failing(
    monkeypatch: pytest.MonkeyPatch, folder: Path, fails_at: int | None, number: int = errno.ENOSPC
) -> Disk:
    """Put the disk beneath everything that opens, makes, renames or saves a file."""
    disk, opened = Disk(folder, fails_at, number), builtins.open

    def open_(path: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if not set(mode) & set("wax+") or isinstance(path, int):
            return opened(path, mode, *args, **kwargs)
        disk.act(path)
        return Written(opened(path, mode, *args, **kwargs), path, disk)

    def counted(function: Callable[..., Any], place: int = 0) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            disk.act(args[place])
            return function(*args, **kwargs)

        return call

    monkeypatch.setattr(builtins, "open", open_)
    monkeypatch.setattr(io, "open", open_)
    for name in ("mkdir", "rename", "replace"):
        monkeypatch.setattr(os, name, counted(getattr(os, name)))
    save = counted(safetensors.torch.save_file, 1)
    for module in (parts, checkpoint):
        monkeypatch.setattr(module, "save_file", save)
    return disk


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def refused(call: Callable[[], Any], folder: Path) -> str:
    """Make a call that has to be refused in one line about the folder; "" if it came through."""
    try:
        call()
    except UserError as refusal:
        said = str(refusal)
        assert "\n" not in said and str(folder) in said, said
        return said
    return ""


def hidden(folder: Path) -> list[str]:
    return [p.name for p in folder.rglob("*") if p.name.startswith(".") or p.suffix == ".lock"]


def moments(n_acts: int, n: int) -> list[int]:
    """Spread `n` acts to fail at over all of them, the first and the last included."""
    return sorted({1 + round(i * (n_acts - 1) / (n - 1)) for i in range(n)})


def test_prepare_on_a_full_disk(
    frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "c"
    ulmfit.prepare(frame[:8], out, config=TEXT)
    before = files_of(out)
    for fails_at in itertools.count(1):
        with monkeypatch.context() as patch:
            disk = failing(patch, tmp_path, fails_at)
            said = refused(lambda: ulmfit.prepare(frame, out, split="split", config=TEXT), tmp_path)
        assert hidden(tmp_path) == []
        if not said:
            break
        assert "No space left on device" in said
        assert files_of(out) == before
    assert disk.n_acts > 15
    assert len(Corpus.load(out)) == len(frame)


@pytest.mark.parametrize("n", DEPTHS)
def test_a_stage_on_a_full_disk_goes_on_when_there_is_room(
    corpus: Corpus, tmp_path: Path, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stage(out: Path) -> Any:
        return ulmfit.pretrain_lm(corpus, out, config=STAGE, progress=lambda _: None)

    with monkeypatch.context() as patch:
        n_acts = failing(patch, tmp_path, None)
        weights = stage(tmp_path / "whole").parts.weights
    chosen, n_refused = moments(n_acts.n_acts, n), 0
    for fails_at in chosen:
        home = tmp_path / str(fails_at)
        with monkeypatch.context() as patch:
            failing(patch, home, fails_at)
            n_refused += bool(refused(partial(stage, home / "lm"), home))
        found = stage(home / "lm").parts.weights
        assert all(torch.equal(found[name], tensor) for name, tensor in weights.items())
        assert [path.name for path in home.iterdir()] == ["lm"]
    assert n_refused > len(chosen) // 2  # of the history alone, nobody needs to hear


@pytest.fixture(scope="module")
def classifier(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from ulmfit.models.label_set import LabelSet

    out = tmp_path_factory.mktemp("classifier") / "clf"
    write_tiny_classifier(out, corpus, labels=LabelSet("category", corpus.label_names))
    return out


@pytest.mark.parametrize("n", DEPTHS)
@pytest.mark.parametrize("verb", ["predict", "evaluate"])
def test_answers_on_a_full_disk(
    verb: str, n: int, classifier: Path, corpus: Corpus, frame: pd.DataFrame, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    frame.to_csv(tmp_path / "texts.csv", index=False)
    home = tmp_path / "home"
    argv = {
        "predict": ["predict", str(classifier), str(tmp_path / "texts.csv"), "--out", str(home / "a.csv")],
        "evaluate": ["evaluate", str(classifier), str(corpus.folder), "--no-baselines", "--out", str(home / "e")],
    }[verb]  # fmt: skip
    assert cli.main(argv) == 0
    before = set(files_of(home))
    with monkeypatch.context() as patch:
        disk = failing(patch, home, None)
        assert cli.main(argv) == 0
        n_acts = disk.n_acts
    for fails_at in moments(n_acts, n):
        whole = files_of(home)
        capsys.readouterr()
        with monkeypatch.context() as patch:
            failing(patch, home, fails_at)
            code = cli.main(argv)
        said = capsys.readouterr().err.splitlines()
        assert hidden(home) == []
        assert set(files_of(home)) == before
        if code:
            assert code == 2 and "No space left on device" in said[-1], said
            assert said[-1].startswith("ulmfit: ") and str(home) in said[-1]
            assert files_of(home) == whole


# --- places that cannot be written


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a place where no file can be")
def test_where_no_file_can_be_made_nobody_waits() -> None:
    with pytest.raises(OSError, match="no file can be made here"), held_part(Path("/proc/corpus")):
        pass


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EIO, errno.EDQUOT])
def test_a_place_that_refuses_is_one_line(
    frame: pd.DataFrame, tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    with monkeypatch.context() as patch:
        failing(patch, home, 1, number)
        said = refused(lambda: ulmfit.prepare(frame, home / "c", config=TEXT), home)
    assert os.strerror(number) in said
    assert not home.exists()


@pytest.mark.parametrize("verb", ["prepare", "stage", "predict", "evaluate"])
def test_a_file_where_a_folder_should_be(
    verb: str, frame: pd.DataFrame, corpus: Corpus, classifier: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "texts.csv").write_text(frame.to_csv(index=False))
    (tmp_path / "file").write_text("I was here before")
    texts, out = str(tmp_path / "texts.csv"), str(tmp_path / "file" / "deep" / "out.csv")
    argv = {
        "prepare": ["prepare", texts, "--out", out],
        "stage": ["pretrain-lm", str(corpus.folder), "--out", out, "--preset", "tiny"],
        "predict": ["predict", str(classifier), texts, "--out", out],
        "evaluate": ["evaluate", str(classifier), str(corpus.folder), "--no-baselines", "--out", out],
    }[verb]  # fmt: skip
    assert cli.main(argv) == 2
    said = capsys.readouterr().err.splitlines()
    assert "Traceback" not in "".join(said)
    assert str(tmp_path / "file") in said[-1] and "another --out" in said[-1]
    assert (tmp_path / "file").read_text() == "I was here before"


# --- what killed writers leave


def leave_behind(out: Path, content: str) -> list[Path]:
    """Let a writer of `out` die in the middle, as the system would: its lock is free, its files stay."""
    import filelock

    with held_part(out) as part:
        names = part, Path(f"{part}.lock")
    part.mkdir()
    (part / "half").write_text(content)
    lock = filelock.FileLock(names[1])
    lock.acquire()
    lock.release()
    names[1].touch()
    return [*names]


def test_what_a_killed_writer_left_is_cleared_by_the_next(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    left = leave_behind(tmp_path / "c", "half") + leave_behind(tmp_path / "c", "another half")
    other = leave_behind(tmp_path / "d", "of another result")
    ulmfit.prepare(frame, tmp_path / "c", config=TEXT)
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in other)
    ulmfit.prepare(frame, tmp_path / "d", config=TEXT)
    assert sorted(os.listdir(tmp_path)) == ["c", "d"]


def test_it_is_cleared_even_where_nothing_is_left_to_do(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    ulmfit.prepare(frame, tmp_path / "c", config=TEXT)
    leave_behind(tmp_path / "c", "half")
    ulmfit.prepare(frame, tmp_path / "c", config=TEXT)
    assert os.listdir(tmp_path) == ["c"]


def test_the_place_of_a_living_writer_is_left_alone(frame: pd.DataFrame, tmp_path: Path) -> None:
    with held_part(tmp_path / "c") as part:
        part.mkdir()
        (part / "half").write_text("still growing")
        ulmfit.prepare(frame, tmp_path / "c", config=TEXT)
        assert (part / "half").read_text() == "still growing"
    assert os.listdir(tmp_path) == ["c"]


def test_a_result_that_was_being_replaced_comes_back(tmp_path: Path) -> None:
    left, _ = leave_behind(tmp_path / "c", "new")
    old = Path(f"{left}.old")
    old.mkdir()
    (old / "weights").write_text("old")
    with held_part(tmp_path / "c") as part:
        assert (tmp_path / "c" / "weights").read_text() == "old"
        assert sorted(os.listdir(tmp_path)) == sorted(["c", f"{part.name}.lock"])
    assert os.listdir(tmp_path) == ["c"]


def test_names_that_look_alike_are_others(tmp_path: Path) -> None:
    ours = parts_of(tmp_path / "a.b")
    with held_part(tmp_path / "a.b") as part:
        assert ours.fullmatch(part.name)
    for name in (".axb.abcd1234.part", ".a.b.c.abcd1234.part", "a.b.abcd1234.part", ".a.b.part"):
        assert not ours.fullmatch(name)


# --- clocks


@pytest.mark.parametrize("jump_seconds", [-(10**9), -3600.0, 3600.0, 10**9])
def test_a_clock_that_jumps_changes_no_weight(
    corpus: Corpus, tmp_path: Path, jump_seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stage(name: str) -> Any:
        quiet: Any = {"progress": lambda _: None}
        return ulmfit.pretrain_lm(corpus, tmp_path / name, config=STAGE, **quiet).parts.weights

    weights = stage("calm")
    with monkeypatch.context() as patch:
        for name in ("time", "monotonic", "perf_counter"):
            patch.setattr(time, name, jumping(getattr(time, name), jump_seconds))
        found = stage("jumpy")
    assert all(torch.equal(found[name], tensor) for name, tensor in weights.items())


def jumping(clock: Callable[[], float], seconds: float) -> Callable[[], float]:
    """Set a clock forth or back at every seventh look, and right again later."""
    looks = itertools.count()
    return lambda: clock() + seconds * (next(looks) // 7 % 2)
